"""The digits experiment is one in which a search matters."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import evojax_merge as em
from evojax_merge.fitness import digits_task
from experiments.digits.compare import CONTESTANTS, searched
from experiments.digits.make_sources import FAMILY, SKILLS, train

SOURCES = Path("experiments/digits/sources/habits").absolute()


def test_training_moves_the_named_layers_alone():
    config = {"model_type": "mlp", "hidden_sizes": [3, 4, 2]}
    params = FAMILY.init_params(FAMILY.config_from_hf(config), jax.random.key(0))
    inputs = np.ones((5, 3), np.float32)
    trained = train(config, params, inputs, lambda z: jnp.square(z - 9).mean(), 2, 0.1, ["fc2"])
    assert (trained["fc1"]["weight"] == params["fc1"]["weight"]).all()
    assert (trained["fc2"]["bias"] != params["fc2"]["bias"]).all()


@pytest.mark.parametrize("name", SKILLS)
def test_a_source_reads_about_as_much_as_its_two_digits(name):
    measured = em.evaluate(em.load(SOURCES / name), digits_task().on("test"))
    assert 0.1 < measured.result.score < 0.25


@pytest.mark.slow
def test_a_search_finds_what_chance_and_whole_weights_do_not():
    found = {
        name: next(iter(searched(["+experiment=digits", *CONTESTANTS[name]], [0])))
        for name in ("default", "random", "whole_default")
    }
    assert found["default"] > 8 + max(found["random"], found["whole_default"])
