"""Tiny checkpoints of one base, and the programs that merge them."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from evojax_merge.exchange import apply_plan, parse_configuration, plan_merge
from tests.checkpoints_factory import random_tensors, tiny_config, write_checkpoint


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Paths of ``base`` and of three fine-tunes ``a``, ``b``, ``c``; sharded but for ``a``."""
    root = tmp_path_factory.mktemp("models")
    base = random_tensors(tiny_config(), 0)
    paths = {"base": write_checkpoint(root / "base", tiny_config(), tensors=base, shards=3)}
    for number, name in enumerate("abc"):
        noise = random_tensors(tiny_config(), number + 1)
        tensors = {key: (base[key] + 0.3 * noise[key]).astype(np.float32) for key in base}
        shards = number + 1
        paths[name] = write_checkpoint(root / name, tiny_config(), tensors=tensors, shards=shards)
    return {name: str(path) for name, path in paths.items()}


@pytest.fixture(scope="session")
def mergekit():
    """Runs a file's tree and returns the tensors."""
    try:
        from mergekit.config import MergeConfiguration
        from mergekit.merge import MergeOptions, run_merge
    except ImportError as error:
        pytest.fail(f"mergekit 0.1.5 cannot be imported ({error}): run `make parity`")

    def run(tree, directory):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = MergeConfiguration.model_validate(tree)
            options = MergeOptions(copy_tokenizer=False, quiet=True, random_seed=0)
            run_merge(config, str(directory), options)
        return tensors_of(directory)

    return run


def entries(models, /, **parameters):
    """``models`` of a file: ``a={...}`` is a model and its parameters."""
    return [
        {"model": models[name], "parameters": given} if given else {"model": models[name]}
        for name, given in parameters.items()
    ]


def plan_of(tree):
    """The plan of a file's tree."""
    return plan_merge(parse_configuration(yaml.safe_dump(tree)))


def merged(tree, directory, **options):
    """Tensors that this package makes of a file's tree."""
    return tensors_of(apply_plan(plan_of(tree), directory, **options))


def tensors_of(directory):
    """All tensors of a checkpoint by name."""
    found = {}
    for file in sorted(Path(directory).glob("*.safetensors")):
        found |= load_file(file)
    return found
