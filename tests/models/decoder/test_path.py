"""Layers run along a path against plain models, loops in Python, and one another."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.models.decoder import cache as caches
from evojax_merge.models.decoder import modeling
from evojax_merge.models.decoder.cache import init_cache
from evojax_merge.models.decoder.modeling import forward
from evojax_merge.models.decoder.path import PATH_AXES, Path, make_path
from tests.compilations import count_compilations
from tests.models.decoder.test_modeling import ALL_CONFIGS, CONFIGS, START, make, tokens

HOPS = 7
step = jax.jit(forward, static_argnums=0, static_argnames="last_only")


@pytest.fixture(autouse=True)
def precise():
    with jax.default_matmul_precision("highest"):
        yield


def along(params, layers, scales=None, **options):
    return {**params, "path": make_path(np.array(layers, int), scales, hops=HOPS, **options)}


def rearranged(config, params, layers):
    """A plain model with those layers."""
    layers = np.array(layers, int)
    moved = jax.tree.map(lambda leaf: leaf[layers], params["layers"])
    windows = tuple(config.windows[layer] for layer in layers)
    config = dataclasses.replace(config, num_layers=len(layers), windows=windows)
    return config, {**params, "layers": moved}


@pytest.mark.few(1)
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("shallow", [True, False])
def test_identity_path_is_the_plain_model_to_the_bit(name, shallow, monkeypatch):
    config, params = make(name)
    if not shallow:
        monkeypatch.setattr(caches, "WRITTEN_OUT", 0)
    plain, _ = jax.jit(lambda p, t: forward(config, p, t, START))(params, tokens())
    routed, _ = step(config, along(params, range(config.num_layers)), tokens(), START)
    if shallow and name == "qwen3":  # XLA rounds its head norms otherwise where layers are unrolled
        np.testing.assert_allclose(routed, plain, rtol=1e-4, atol=1e-5)
    else:
        np.testing.assert_array_equal(routed, plain)


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ALL_CONFIGS)
def test_a_path_is_the_model_with_those_layers(name):
    config, params = make(name)
    layers = [2, 0, 0, 1, 2]
    other, moved = rearranged(config, params, layers)
    expected, _ = step(other, moved, tokens(), START)
    routed, _ = step(config, along(params, layers), tokens(), START)
    np.testing.assert_allclose(routed, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("branch_only", [False, True])
def test_scales_multiply_what_enters_a_hop(branch_only):
    config, params = make("llama")
    layers, scales = [1, 2, 0, 2], np.array([1.0, 0.7, -1.3, 0.4], np.float32)
    routed, _ = step(
        config, along(params, layers, scales, branch_only=branch_only), tokens(), START
    )

    graph = modeling._graph(config, False, True)
    model = modeling.nnx.merge(graph, params)
    layer_graph, stacked = modeling.nnx.split(model.layers)
    x = model.embed_tokens(tokens())
    at = modeling._positions(config, 10, START, 0, x.dtype)
    stream, branch = jnp.zeros_like(x), x
    for number, scale in zip(layers, scales, strict=True):
        x = stream + scale * branch if branch_only else scale * (stream + branch)
        leaves = jax.tree.map(lambda leaf, i=number: leaf[i], stacked)
        layer = modeling.nnx.merge(layer_graph, leaves)
        stream, branch, _ = layer(x, at, jnp.int32(2**30), None, None)
    x = model.norm(stream + branch)
    expected = x @ params["lm_head"]["weight"].T
    np.testing.assert_allclose(routed, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_a_cache_has_a_place_for_each_hop(name):
    config, params = make(name)
    routed = along(params, [0, 1, 1, 1, 2, 0], np.array([1, 0.9, 1.1, 1, 0.8, 1.2], np.float32))
    whole, _ = step(config, routed, tokens(), START)
    cache = init_cache(config, 3, 10, jnp.float32, hops=HOPS)
    logits, cache = step(config, routed, tokens()[:, :7], START, cache, 0)
    parts = [logits]
    for slot in range(7, 10):
        logits, cache = step(config, routed, tokens()[:, slot : slot + 1], START, cache, slot)
        parts.append(logits)
    tokens_only = np.arange(10) >= START[:, None]
    cached = np.concatenate(parts, axis=1)
    np.testing.assert_allclose(cached[tokens_only], whole[tokens_only], rtol=1e-4, atol=1e-4)


def test_a_population_of_paths_is_each_alone():
    config, params = make("llama")
    paths = [
        make_path(np.array([0, 1, 2]), hops=HOPS),
        make_path(np.array([2, 0, 1, 1, 2, 0]), np.linspace(0.5, 1.5, 6), hops=HOPS),
        make_path(np.array([], int), hops=HOPS),
    ]
    alone = [step(config, {**params, "path": path}, tokens(), START)[0] for path in paths]
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *paths)
    together = stacked._replace(steps=stacked.length.max())

    def one(path: Path):
        return forward(config, {**params, "path": path}, tokens(), START)[0]

    logits = jax.jit(jax.vmap(one, in_axes=(PATH_AXES,)))(together)
    for row, expected in zip(logits, alone, strict=True):
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-5)


def test_nothing_recompiles_when_the_path_changes():
    config, params = make("llama")
    run = jax.jit(lambda p: forward(config, p, tokens(), START)[0])
    run(along(params, [0, 1, 2]))
    with count_compilations() as compilations:
        for layers in ([2], [1, 1, 1, 1, 1, 1, 1], [0, 2]):
            run(along(params, layers, np.full(len(layers), 0.5)))
    assert compilations.count == 0


def test_a_path_must_fit():
    with pytest.raises(ValueError, match="3 hops does not fit into 2"):
        make_path(np.array([0, 1, 2]), hops=2)
