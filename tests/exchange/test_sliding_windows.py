"""Sliding windows of merges whose layers come from models with others."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.checkpoints import load
from evojax_merge.exchange import ExchangeError
from tests.checkpoints_factory import tiny_config, write_checkpoint
from tests.exchange.conftest import merged, plan_of

USED = {"use_sliding_window": True, "max_window_layers": 0}
MODELS = {
    "m4": ("mistral", {"sliding_window": 4}),
    "m0": ("mistral", {}),
    "q4": ("qwen2", USED | {"sliding_window": 4}),
    "q8": ("qwen2", USED | {"sliding_window": 8}),
    "q0": ("qwen2", {}),
    "r4": ("qwen3", USED | {"sliding_window": 4, "max_window_layers": 1}),
    "r0": ("qwen3", {"layer_types": ["full_attention"] * 3}),
}


@pytest.fixture(scope="module")
def windowed(tmp_path_factory):
    root = tmp_path_factory.mktemp("windowed")
    return {
        name: str(write_checkpoint(root / name, tiny_config(kind, **changes), seed=seed))
        for seed, (name, (kind, changes)) in enumerate(MODELS.items())
    }


def stack(windowed, *parts):
    sources = [
        {"model": windowed[name], "layer_range": [first, stop]} for name, first, stop in parts
    ]
    return {"merge_method": "passthrough", "slices": [{"sources": [own]} for own in sources]}


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("parts", "windows"),
    [
        ((("m4", 0, 2), ("m0", 1, 3)), (4, 4, None, None)),
        ((("m0", 0, 1), ("m4", 1, 2), ("m0", 2, 3)), (None, 4, None)),
        ((("q4", 0, 2), ("q0", 2, 3)), (4, 4, None)),
        ((("q0", 0, 1), ("q4", 0, 3)), (None, 4, 4, 4)),
        ((("r0", 0, 3), ("r4", 0, 3)), (None, None, None, None, 4, 4)),
        ((("r4", 0, 1), ("r4", 0, 1)), (None, None)),
    ],
)
def test_every_layer_keeps_its_window_here_and_in_transformers(windowed, tmp_path, parts, windows):
    import torch
    from transformers import AutoModelForCausalLM

    merged(stack(windowed, *parts), tmp_path / "out")
    model = load(tmp_path / "out")
    assert model.config.windows == windows
    ids = np.arange(3, 19)[None]
    wanted = dataclasses.replace(model.config, windows=windows)
    ours, _ = model.family.forward(
        wanted, model.params, jnp.asarray(ids), jnp.zeros(len(ids), jnp.int32)
    )
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        theirs = stock(torch.tensor(ids)).logits.numpy()
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=2e-4, atol=2e-4)


def test_two_windows_in_one_model_are_refused_by_layer_and_source(windowed):
    tree = stack(windowed, ("q4", 0, 2), ("q8", 1, 3))
    with pytest.raises(ExchangeError, match=r"layers 0 to 1: 4; layers 2 to 3: 8") as error:
        plan_of(tree)
    assert f"slices[1] from layer 2, {windowed['q8']}" in str(error.value)


@pytest.mark.filterwarnings("ignore:.*its configuration differs")
def test_a_merge_of_whole_models_has_the_windows_of_its_base(windowed, tmp_path):
    tree = {
        "merge_method": "task_arithmetic",
        "base_model": windowed["q0"],
        "models": [{"model": windowed["q4"], "parameters": {"weight": 1.0}}],
    }
    merged(tree, tmp_path / "out")
    assert load(tmp_path / "out").config.windows == (None, None, None)
    assert "layer_types" not in json.loads((tmp_path / "out" / "config.json").read_text())
