import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.models.decoder import cache as caches
from evojax_merge.models.decoder.cache import init_cache
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.modeling import forward
from evojax_merge.models.decoder.params import layout
from evojax_merge.params.tree import unflatten
from tests.checkpoints_factory import VOCAB, tiny_config
from tests.trees import axes_of

CONFIGS = {
    "llama": tiny_config(attention_bias=True, mlp_bias=True),
    "mistral": tiny_config("mistral", sliding_window=4),
    "qwen2": tiny_config(
        "qwen2",
        sliding_window=3,
        use_sliding_window=True,
        max_window_layers=1,
        tie_word_embeddings=True,
    ),
    "qwen3": tiny_config("qwen3"),
}
ALL_CONFIGS = CONFIGS | {
    "gemma2": tiny_config("gemma2", attn_logit_softcapping=1.5, final_logit_softcapping=2.0),
    "gemma3": tiny_config("gemma3_text", rope_theta=100.0, rope_local_base_freq=10.0),
    "phi3": tiny_config("phi3", sliding_window=4, partial_rotary_factor=0.5),
    "olmo2": tiny_config("olmo2"),
}
"""With those that compute something else besides."""
FEW_CONFIGS = [
    name if name in ("llama", "mistral") else pytest.param(name, marks=pytest.mark.slow)
    for name in CONFIGS
]
"""For what hardly depends on the family: the others are for `make test-slow`."""
step = jax.jit(forward, static_argnums=0, static_argnames="last_only")
LENGTHS = np.array([10, 6, 1])
START = (10 - LENGTHS).astype(np.int32)


@pytest.fixture(autouse=True)
def precise():
    with jax.default_matmul_precision("highest"):
        yield


def make(name, seed=0):
    """A decoder whose every parameter is random, norms and biases included."""
    config = DecoderConfig.from_hf(ALL_CONFIGS[name])
    rng = np.random.default_rng(seed)
    leaves = {
        path: jnp.asarray((path.endswith("norm.weight")) + 0.2 * rng.standard_normal(shape))
        for path, shape in layout(config).shapes.items()
    }
    return config, unflatten({path: leaf.astype(jnp.float32) for path, leaf in leaves.items()})


def tokens(shape=(3, 10)):
    return jnp.asarray(np.random.default_rng(1).integers(0, VOCAB, shape))


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_scanned_layers_are_the_same_as_layers_written_out(name, monkeypatch):
    config, params = make(name)

    def prefill_and_decode():
        cache = init_cache(config, 3, 10, jnp.float32)
        first, cache = forward(config, params, tokens()[:, :9], START, cache, 0)
        last, _ = forward(config, params, tokens()[:, 9:], START, cache, 9)
        return jnp.concatenate([first, last], axis=1)

    written_out = jax.jit(prefill_and_decode)()
    monkeypatch.setattr(caches, "WRITTEN_OUT", 0)
    scanned = jax.jit(lambda: prefill_and_decode())()
    np.testing.assert_allclose(scanned, written_out, atol=1e-5)


def test_a_prompt_begins_the_cache_and_is_not_written_into_an_empty_one():
    config, params = make(FEW_CONFIGS[0])

    def prefill(fill):
        empty = init_cache(config, 3, 16, jnp.float32)
        empty = jax.tree.map(lambda leaf: leaf + fill, empty)
        return forward(config, params, tokens(), START, empty, 0)[1]

    assert "dynamic_update_slice" not in str(jax.make_jaxpr(prefill)(0.0))
    for begun, other in zip(*map(jax.tree.leaves, (prefill(0.0), prefill(1.0))), strict=True):
        np.testing.assert_array_equal(begun, other)
        assert 16 in begun.shape


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ALL_CONFIGS)
def test_prefill_and_decode_equal_the_full_forward(name):
    config, params = make(name)
    full, _ = step(config, params, tokens(), START)
    cache = init_cache(config, 3, 16, jnp.float32)
    logits, cache = step(config, params, tokens()[:, :6], START, cache, 0)
    pieces = [logits]
    for slot in range(6, 10):
        logits, cache = step(config, params, tokens()[:, slot : slot + 1], START, cache, slot)
        pieces.append(logits)
    valid = np.arange(10) >= START[:, None]
    np.testing.assert_allclose(
        np.concatenate(pieces, axis=1)[valid], np.asarray(full)[valid], atol=2e-5
    )


@pytest.mark.few(3)
@pytest.mark.parametrize("name", ALL_CONFIGS)
def test_last_only_is_the_last_of_all(name):
    config, params = make(name)
    empty = init_cache(config, 3, 16, jnp.float32)
    full, filled = step(config, params, tokens(), START, empty, 0)
    last, also = step(config, params, tokens(), START, empty, 0, last_only=True)
    np.testing.assert_allclose(last[:, 0], full[:, -1], atol=1e-5)
    for one, other in zip(*map(jax.tree.leaves, (filled, also)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("prompt", [1, 10])
def test_the_last_layer_computes_for_the_last_tokens_alone_what_is_read_of_them_alone(prompt):
    config, params = make("llama")

    def mlps(last_only):
        """How many tokens of a row each MLP is computed for."""
        shown = jax.make_jaxpr(
            lambda: forward(config, params, tokens()[:, :prompt], START, last_only=last_only)
        )()
        return [
            equation.outvars[0].aval.shape[1]
            for equation in shown.eqns
            if equation.primitive.name == "dot_general"
            and equation.invars[0].aval.shape[-1] == config.intermediate_size
        ]

    assert mlps(False) == [prompt] * config.num_layers
    assert mlps(True) == [prompt] * (config.num_layers - 1) + [1]


@pytest.mark.parametrize("name", CONFIGS)
def test_what_stands_in_padding_does_not_matter(name):
    config, params = make(name)
    valid = np.arange(10) >= START[:, None]
    first, _ = step(config, params, jnp.where(valid, tokens(), 0), START)
    second, _ = step(config, params, jnp.where(valid, tokens(), 7), START)
    np.testing.assert_array_equal(np.asarray(first)[valid], np.asarray(second)[valid])


@pytest.mark.few(1)
@pytest.mark.parametrize("name", CONFIGS)
def test_causality_by_gradient(name):
    """Position 6 depends on each token of the past and on none of the future."""
    config, params = make(name)
    table = params["embed_tokens"]["weight"]
    ids = jnp.arange(10)[None]  # row i is the input at position i; a tied head's rows start at 10

    def score(rows):
        changed = {**params, "embed_tokens": {"weight": table.at[:10].set(rows)}}
        return forward(config, changed, ids, jnp.zeros(1, jnp.int32))[0][0, 6, 10:].sum()

    influence = np.abs(np.asarray(jax.jit(jax.grad(score))(table[:10]))).sum(-1)
    assert (influence[:7] > 0).all()
    assert (influence[7:] == 0).all()


def test_a_window_limits_how_far_one_layer_sees():
    _, params = make("mistral")
    single = DecoderConfig.from_hf(CONFIGS["mistral"] | {"num_hidden_layers": 1})
    params = {**params, "layers": jax.tree.map(lambda leaf: leaf[:1], params["layers"])}
    table = params["embed_tokens"]["weight"]

    def score(rows):
        changed = {**params, "embed_tokens": {"weight": table.at[:10].set(rows)}}
        return forward(single, changed, jnp.arange(10)[None], jnp.zeros(1, jnp.int32))[0][
            0, 8
        ].sum()

    influence = np.abs(np.asarray(jax.jit(jax.grad(score))(table[:10]))).sum(-1)
    assert np.flatnonzero(influence).tolist() == [5, 6, 7, 8]


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ALL_CONFIGS)
def test_a_population_computes_what_its_candidates_do_alone(name):
    config = make(name)[0]
    candidates = [make(name, seed)[1] for seed in range(3)]
    axes = axes_of(candidates[0])
    population = jax.tree.map(lambda axis, *leaves: jnp.stack(leaves, axis=axis), axes, *candidates)

    def logits(params):
        return forward(config, params, tokens(), START)[0]

    together = jax.jit(jax.vmap(logits, in_axes=(axes,)))(population)
    alone = jnp.stack([step(config, params, tokens(), START)[0] for params in candidates])
    np.testing.assert_allclose(together, alone, atol=2e-5)


@pytest.mark.parametrize(("stacked_axis", "copies"), [(1, False), (0, True)])
def test_a_population_on_axis_one_of_stacked_leaves_moves_no_weights(
    stacked_axis, copies, monkeypatch
):
    monkeypatch.setattr(caches, "WRITTEN_OUT", 0)
    config, params = make("llama")
    axes = {name: stacked_axis if name == "layers" else 0 for name in params}
    population = jax.tree.map(
        lambda axis, part: jax.tree.map(lambda leaf: jnp.stack([leaf] * 2, axis), part),
        axes,
        params,
        is_leaf=lambda node: node is not axes and node is not params,
    )
    batched = jax.vmap(lambda p: forward(config, p, tokens(), START)[0], in_axes=(axes,))
    outer = jax.make_jaxpr(batched)(population).jaxpr
    moved = [
        equation.invars[0].aval.shape
        for equation in outer.eqns
        if equation.primitive.name == "transpose" and equation.invars[0] in outer.invars
    ]
    assert bool([shape for shape in moved if len(shape) == 4]) is copies


@pytest.mark.slow
def test_bfloat16_stays_bfloat16_inside():
    config, params = make("llama")
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    cache = init_cache(config, 3, 10, jnp.bfloat16)
    logits, cache = forward(config, params, tokens(), START, cache)
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(cache)} == {jnp.dtype(jnp.bfloat16)}
