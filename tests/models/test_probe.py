"""Probes see what each linear layer reads, in torch's own words, and change nothing."""

import jax
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from evojax_merge.checkpoints import load
from evojax_merge.models.decoder import cache
from evojax_merge.models.family import MLP
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.sources.evidence.gram import by_leaf, collect_gram
from evojax_merge.sources.evidence.items import Items
from tests.checkpoints_factory import VOCAB, tiny_config, write_checkpoint

LENGTHS = np.array([9, 4, 6])


def items(*fields, batch_size=2):
    return Items("x", "", "", len(fields[0]), (fields,), batch_size)


@pytest.fixture
def texts():
    rng = np.random.default_rng(0)
    tokens = rng.integers(3, VOCAB, (len(LENGTHS), LENGTHS.max())).astype(np.int32)
    start = (LENGTHS.max() - LENGTHS).astype(np.int32)
    slots = np.arange(LENGTHS.max())
    return tokens, start, slots > start[:, None]


def their_grams(directory, tokens, start):
    """Mean of x xᵀ over tokens by forward hooks, in float64."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float64)
    grams = {}
    total = 0

    def hook(name):
        def add(module, inputs):
            x = inputs[0].reshape(-1, inputs[0].shape[-1]).numpy()
            grams[name] = grams.get(name, 0) + x.T @ x

        return add

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(hook(name))
    with torch.no_grad():
        for row, first in zip(tokens, start, strict=True):
            model(torch.from_numpy(row[first:]).long()[None])
            total += len(row) - first
    return {name: gram / total for name, gram in grams.items()}


@pytest.mark.few(1)
@pytest.mark.parametrize("written_out", [8, 0])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_gram_matrices_are_those_of_what_torch_modules_read(
    kind, tied, written_out, texts, tmp_path, monkeypatch
):
    monkeypatch.setattr(cache, "WRITTEN_OUT", written_out)
    config = tiny_config(kind, tie_word_embeddings=tied)
    directory = write_checkpoint(tmp_path / "m", config)
    model = load(directory)
    ours = collect_gram(model.family, model.config, model.params, items(*texts))
    ours = by_leaf(model.family, model.config, ours)
    theirs = their_grams(directory, *texts[:2])
    seen = set()
    for path, gram in ours.items():
        name = model.family.layout(model.config).names[path].removesuffix(".weight")
        layers = gram if "{layer}" in name else gram[None]
        for layer, matrix in enumerate(layers):
            seen.add(name.format(layer=layer))
            want = theirs[name.format(layer=layer)]
            np.testing.assert_allclose(matrix, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())
    assert seen == theirs.keys() - ({"lm_head"} if tied else set())


@pytest.mark.parametrize("written_out", [8, 0])
def test_a_probed_forward_computes_the_same_bits(written_out, texts, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "WRITTEN_OUT", written_out)
    model = load(write_checkpoint(tmp_path / "m", tiny_config()))
    leaves = flatten(model.params)
    for probe in set(model.family.layout(model.config).linear_inputs.values()):
        *layers, _, width = leaves[f"{probe}.weight"].shape
        leaves[f"{probe}.probe"] = np.ones((*layers, width, width), np.float32)
        leaves[f"{probe}.rows"] = np.ones((*layers, *texts[0].shape), np.float32)
    forward = jax.jit(model.family.forward, static_argnums=0, static_argnames="probed")
    plain, _ = forward(model.config, model.params, *texts[:2])
    probed, _ = forward(model.config, unflatten(leaves), *texts[:2], probed=True)
    np.testing.assert_array_equal(plain, probed)


def test_a_classifier_too_and_in_any_batches():
    config = MLP.config_from_hf({"model_type": "mlp", "hidden_sizes": [5, 4, 3]})
    params = MLP.init_params(config, jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    labels = np.zeros(7, np.int32)
    hidden = np.maximum(x @ np.asarray(params["fc1"]["weight"]).T, 0)
    for size in (7, 3):
        grams = collect_gram(MLP, config, params, items(x, labels, batch_size=size))
        np.testing.assert_allclose(grams["fc1"], x.T @ x / 7, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(grams["fc2"], hidden.T @ hidden / 7, rtol=1e-5, atol=1e-6)
