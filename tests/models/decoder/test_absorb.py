"""A path, the plain model that its scales are absorbed into, and transformers' reading of that."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from evojax_merge.checkpoints import export, load
from evojax_merge.models.decoder.absorb import AbsorptionError, absorb
from evojax_merge.models.decoder.modeling import forward
from evojax_merge.models.decoder.path import make_path
from evojax_merge.sources.pool import make_pool
from tests.checkpoints_factory import tiny_config, write_checkpoint

TOKENS = np.random.default_rng(0).integers(3, 64, (2, 11))
START = np.zeros(2, np.int32)
LAYERS = [0, 4, 2, 2, 5, 1, 2]
SCALES = np.array([1.0, 0.8, -1.3, 0.6, 1.1, -0.7, 1.4], np.float32)

MODELS = {
    "llama": [{"attention_bias": True, "mlp_bias": True}, {}],
    "mistral": [{"sliding_window": 4}, {"sliding_window": 4}],
    "qwen2": [
        {"sliding_window": 3, "use_sliding_window": True, "max_window_layers": 1},
        {"sliding_window": 3, "use_sliding_window": False},
    ],
    "qwen3": [{"tie_word_embeddings": True}, {"num_hidden_layers": 4}],
    "gemma2": [{}, {"layer_types": ["full_attention"] * 3}],
    "gemma3_text": [{"tie_word_embeddings": True}, {}],
    "phi3": [{}, {}],
    "olmo2": [{"attention_bias": True}, {"attention_bias": True}],
}


@pytest.fixture(autouse=True)
def precise():
    with jax.default_matmul_precision("highest"):
        yield


def pool_of(kind, tmp_path, dtype=np.float32):
    first, second = MODELS[kind]
    if kind == "llama":
        second = first
    models = [
        load(write_checkpoint(tmp_path / f"{n}", tiny_config(kind, **changes), seed=n, dtype=dtype))
        for n, changes in enumerate([first, second])
    ]
    return make_pool(models, ["a", "b"], 0)


def logits(config, params):
    return np.asarray(jax.jit(lambda p: forward(config, p, TOKENS, START)[0])(params))


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("kind", "branch_only"),
    [(kind, True) for kind in MODELS]
    + [(kind, False) for kind in ("llama", "mistral", "qwen2", "qwen3")],
)
def test_routed_absorbed_and_exported_logits_are_equal(kind, branch_only, tmp_path):
    pool = pool_of(kind, tmp_path)
    path = make_path(np.array(LAYERS), SCALES, branch_only=branch_only, hops=9)
    routed = logits(pool.config, {**pool.params, "path": path})

    plain = pool.plain(path)
    ours = logits(plain.config, plain.params)
    directory = export(plain, tmp_path / "out")
    again = load(directory)
    assert again.config == plain.config
    np.testing.assert_array_equal(logits(again.config, again.params), ours)
    theirs = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    with torch.no_grad():
        reference = theirs(torch.from_numpy(TOKENS)).logits.numpy()

    size = np.abs(routed).max()
    np.testing.assert_allclose(ours, reference, rtol=0, atol=2e-5 * size)
    np.testing.assert_allclose(routed, ours, rtol=0, atol=1e-4 * size)


@pytest.mark.slow
def test_without_epsilon_only_rounding_is_left(tmp_path):
    pool = pool_of("llama", tmp_path)
    config = dataclasses.replace(pool.config, rms_norm_eps=0.0)
    path = make_path(np.array(LAYERS), SCALES)
    routed = logits(config, {**pool.params, "path": path})
    absorbed_config, params = absorb(config, pool.params, path)
    ours = logits(absorbed_config, params)
    np.testing.assert_allclose(routed, ours, rtol=0, atol=5e-6 * np.abs(ours).max())


def test_no_scale_changes_no_bit(tmp_path):
    pool = pool_of("qwen3", tmp_path)
    plain = pool.plain(make_path(np.array(LAYERS)))
    for path, leaf in (
        ("input_layernorm", "weight"),
        ("self_attn", "o_proj"),
        ("mlp", "down_proj"),
    ):
        moved = jax.tree.map(lambda x: np.asarray(x)[LAYERS], pool.params["layers"][path][leaf])
        jax.tree.map(np.testing.assert_array_equal, plain.params["layers"][path][leaf], moved)


def test_bfloat16_is_rounded_once(tmp_path):
    pool = pool_of("mistral", tmp_path, dtype=jnp.bfloat16)
    plain = pool.plain(make_path(np.array(LAYERS), SCALES))
    before = np.asarray(pool.params["layers"]["self_attn"]["o_proj"]["weight"])[LAYERS[3]]
    product = np.prod(SCALES[:4].astype(np.float64))
    expected = (before.astype(np.float32) * np.float32(1 / product)).astype(jnp.bfloat16)
    after = plain.params["layers"]["self_attn"]["o_proj"]["weight"][3]
    assert after.dtype == jnp.bfloat16
    np.testing.assert_array_equal(after, expected)


@pytest.mark.parametrize(("scale", "fits"), [(0.8, True), (0.03, False)])
def test_a_norm_that_is_stored_as_its_distance_to_one_keeps_its_precision(scale, fits, tmp_path):
    pool = pool_of("gemma2", tmp_path, dtype=jnp.bfloat16)
    path = make_path(np.array([0, 1, 2]), np.array([1.0, 1.0, 1 / scale], np.float32))
    if fits:
        weight = pool.params["layers"]["post_attention_layernorm"]["weight"][2]
        plain = pool.plain(path).params["layers"]["post_attention_layernorm"]["weight"][2]
        wanted = (1 + np.asarray(weight, np.float32)) * scale
        np.testing.assert_allclose(1 + np.asarray(plain, np.float32), wanted, atol=2**-8)
    else:
        with pytest.raises(AbsorptionError, match="in bfloat16 that is too coarse"):
            pool.plain(path)


@pytest.mark.parametrize(
    ("layers", "scales", "message"),
    [
        ([], None, "the path is empty"),
        ([0, 1], [1.0, 0.0], "hop 1 has the scale 0"),
        ([0, 1], [1.0, np.nan], "hop 1 has the scale nan"),
        ([0, 1, 2], [1.0, 1e-30, 1e-30], "the product of the scales leaves"),
    ],
)
def test_what_weights_cannot_express_is_refused(layers, scales, message, tmp_path):
    pool = pool_of("llama", tmp_path)
    path = make_path(np.array(layers, int), None if scales is None else np.array(scales))
    with pytest.raises(AbsorptionError, match=message):
        pool.plain(path)


def test_a_narrow_dtype_that_overflows_is_refused(tmp_path):
    pool = pool_of("llama", tmp_path, dtype=np.float16)
    with pytest.raises(AbsorptionError, match="leaves the range of float16 when"):
        pool.plain(make_path(np.array([0, 1]), np.array([1.0, 1e-6])))
