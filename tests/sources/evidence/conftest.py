"""Tiny models with names, and files of items for them."""

import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from evojax_merge.checkpoints import load
from evojax_merge.models.family import MLP
from tests.checkpoints_factory import write_family


@pytest.fixture(scope="session")
def directories(tmp_path_factory):
    """A base and two fine-tunes of it, on disk."""
    return write_family(tmp_path_factory.mktemp("models"), max_position_embeddings=48)


@pytest.fixture(scope="session")
def decoders(directories):
    return [load(directories[name]) for name in ("a", "b")]


@pytest.fixture(scope="session")
def classifiers():
    config = MLP.config_from_hf({"model_type": "mlp", "hidden_sizes": [6, 5, 3]})
    return [
        SimpleNamespace(
            family=MLP,
            config=config,
            tokenizer=None,
            params=MLP.init_params(config, jax.random.key(seed)),
        )
        for seed in range(2)
    ]


@pytest.fixture
def texts(tmp_path):
    """Five questions with answers of different lengths."""
    path = tmp_path / "texts.jsonl"
    rows = [{"question": "abc"[: n % 3 + 1] + "? ", "text": "answer" * (n + 1)} for n in range(5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(7, 6)).astype(np.float32)
    path = tmp_path / "table.npz"
    np.savez(path, inputs=inputs, label=rng.integers(0, 3, 7))
    return str(path)
