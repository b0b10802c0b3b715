"""A population of small classifiers and what merges them."""

from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from evojax_merge.fitness import digits_task
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.measuring.mesh import make_mesh
from evojax_merge.models.family import MLP
from evojax_merge.operators import task_arithmetic
from evojax_merge.spaces import ParameterSpace
from tests.trees import init_statistics, merge

HF_CONFIG = {"model_type": "mlp", "hidden_sizes": [64, 16, 10]}


class Digits(NamedTuple):
    """Random classifiers of the digits; nothing in them is good, but all differ."""

    space: ParameterSpace
    materials: Any
    merge_fn: Any
    config: Any
    tasks: dict[str, Any]

    def evaluator(self, population_size: int = 8, devices: Any = None, **options: Any) -> Evaluator:
        return Evaluator(
            MLP,
            self.config,
            self.merge_fn,
            self.materials,
            self.tasks,
            mesh=make_mesh(devices=devices),
            dims=self.space.dims,
            population_size=population_size,
            **options,
        )


def make_digits() -> Digits:
    config = MLP.config_from_hf(HF_CONFIG)
    networks = [MLP.init_params(config, jax.random.key(seed)) for seed in range(3)]
    base, sources = networks[0], tuple(networks[1:])
    operator = task_arithmetic()
    space = ParameterSpace(
        operator, MLP.layout(config), ("a", "b"), groups={"hidden": ["mlp"], "out": ["head"]}
    )

    def merge_fn(materials, genotype):
        base, sources, statistics = materials
        coefficients = space.expand(space.decode(genotype))
        return merge(operator, base, sources, coefficients, statistics, 0)

    model = type("Model", (), {"config": config, "tokenizer": None})
    task = digits_task()
    tasks = {split: task.on(split).bind(model) for split in ("search", "test")}
    return Digits(
        space, (base, sources, init_statistics(operator, base, sources)), merge_fn, config, tasks
    )


@pytest.fixture(scope="session")
def digits() -> Digits:
    return make_digits()


@pytest.fixture
def population(digits) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(0, 1, (8, digits.space.dims)).astype(np.float32)
