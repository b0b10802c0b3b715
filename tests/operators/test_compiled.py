"""What holds for the compiled program of every operator."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.operators import constant_coefficients, make_merge
from evojax_merge.params.population import COMPILER_OPTIONS, fill
from tests.operators.conftest import FACTORIES, TYPICAL, made, marked
from tests.operators.merging import assert_close, assert_equal, merge_once, random_coefficients
from tests.trees import axes_of, init_statistics, merge, stacked_in


@pytest.fixture
def few(models):
    """A base and its fine-tunes with one leaf of each kind; what is compiled is compiled leaf by
    leaf."""

    def of(tree):
        layers = {name: tree["layers"][name] for name in ("norm", "up_proj")}
        return {"embed_tokens": tree["embed_tokens"], "layers": layers}

    def make(operator):
        base, sources = models(operator)
        return of(base), tuple(of(source) for source in sources)

    return make


@pytest.mark.slow  # every step is compiled by itself
def test_without_compilation_the_numbers_are_the_same(operator, models):
    base, sources = models(operator)
    coefficients = random_coefficients(operator, base, len(sources))
    statistics = init_statistics(operator, base, sources)
    eager = merge(operator, base, sources, coefficients, statistics, jnp.uint32(7))
    assert_close(eager, merge_once(operator, base, sources, coefficients, 7))


@pytest.mark.few(2)
def test_jit_vmap_and_a_loop_agree(typical, few):
    operator = typical
    base, sources = few(operator)
    statistics = init_statistics(operator, base, sources)
    candidates = [
        random_coefficients(operator, base, len(sources), seed=candidate) for candidate in range(4)
    ]
    population = jax.tree.map(lambda *leaves: jnp.stack(leaves), *candidates)
    materials = base, sources, statistics

    def one(coefficients, materials):
        base, sources, statistics = materials
        return merge(operator, base, sources, coefficients, statistics, jnp.uint32(7))

    jitted = jax.jit(one)
    # Given as arguments, as a search does: constants would be folded into other roundings.
    loop = [jitted(candidate, materials) for candidate in candidates]
    axes = axes_of(base)
    stacked = jax.tree.map(lambda axis, *leaves: jnp.stack(leaves, axis), axes, *loop)
    vmapped = jax.jit(jax.vmap(one, in_axes=(0, None), out_axes=axes))
    assert_close(vmapped(population, materials), stacked, 2e-6)

    # The same bits, whatever the chunk: a search and the export of its best must agree.
    @functools.partial(jax.jit, compiler_options=COMPILER_OPTIONS)
    def together(population, buffer, count, materials):
        def make(index):
            return one(jax.tree.map(lambda x: x[index], population), materials)

        return fill(buffer, axes, count, make)

    def of(first, stop):
        part = jax.tree.map(lambda x: x[first:stop], population)
        buffer = jax.tree.map(
            lambda x, a: 0 * jax.lax.slice_in_dim(x, 0, stop - first, axis=a), stacked, axes
        )
        return together(part, buffer, stop - first, materials)

    whole = of(0, 4)
    assert_equal(whole, stacked)
    for first, stop in ((1, 2), (2, 4)):
        expected = jax.tree.map(
            lambda x, a, i=first, j=stop: jax.lax.slice_in_dim(x, i, j, axis=a), whole, axes
        )
        assert_equal(of(first, stop), expected)


@pytest.mark.few(8)
def test_strict_promotion_holds(operator, models):
    base, sources = models(operator, jnp.bfloat16)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        statistics = init_statistics(operator, base, sources)
        coefficients = constant_coefficients(operator, base, len(sources))
        jax.eval_shape(
            lambda *trees: merge(operator, *trees, 0), base, sources, coefficients, statistics
        )


@pytest.mark.few(3)
def test_make_merge_writes_into_the_buffer_it_is_given(typical, few):
    operator = typical
    base, sources = few(operator)
    statistics = init_statistics(operator, base, sources)
    coefficients = random_coefficients(operator, base, len(sources))
    into = make_merge(operator, stacked_in(base))
    buffer = jax.tree.map(jnp.copy, base)
    pointers = jax.tree.map(lambda x: x.unsafe_buffer_pointer(), buffer)
    merged = into(buffer, base, sources, coefficients, statistics, jnp.uint32(2))
    assert jax.tree.map(lambda x: x.unsafe_buffer_pointer(), merged) == pointers
    assert_equal(merged, merge_once(operator, base, sources, coefficients, seed=2))


@pytest.mark.few(4)
@pytest.mark.parametrize("factory", marked(FACTORIES, TYPICAL))
def test_a_merge_reads_each_input_and_writes_its_result_once(factory):
    operator = made(factory)
    rng = np.random.default_rng(0)
    base, *sources = (
        {"layers": {"weight": jnp.asarray(rng.standard_normal((4, 64, 256)), jnp.float32)}}
        for _ in range(4)
    )
    sources = tuple(sources[: operator.sources[1]])
    arguments = (
        base if operator.needs_base else None,
        sources,
        random_coefficients(operator, base, len(sources)),
        init_statistics(operator, base, sources),
        jnp.uint32(0),
    )
    compiled = jax.jit(lambda *a: merge(operator, *a)).lower(*arguments).compile()
    once = base["layers"]["weight"].nbytes * (len(sources) + operator.needs_base + 1)
    # The tables of so small a tensor (8 kB a layer and more) are a visible part of the traffic, and
    # every lookup is counted as a reading of its whole table.
    tables = sum(x.nbytes for x in jax.tree.leaves(arguments[3]))
    assert compiled.cost_analysis()["bytes accessed"] <= 1.15 * once + 2 * tables


@pytest.mark.parametrize("count", [1, 3])
def test_a_chunk_takes_no_memory_but_its_own(count):
    rng = np.random.default_rng(0)
    shapes = {"layers": {"q": (4, 64, 256), "up": (4, 256, 64)}, "head": (64, 64)}
    base = jax.tree.map(
        lambda shape: jnp.asarray(rng.standard_normal(shape), jnp.float32),
        shapes,
        is_leaf=lambda shape: isinstance(shape, tuple),
    )
    axes = axes_of(base)

    def merge_all(buffer, base, scales, count):
        def make(index):
            return jax.tree.map(lambda leaf: leaf + scales[index] * leaf, base)

        return fill(buffer, axes, count, make)

    jitted = jax.jit(
        merge_all, donate_argnums=0, keep_unused=True, compiler_options=COMPILER_OPTIONS
    )
    buffer = jax.tree.map(
        lambda leaf, axis: jnp.zeros((*leaf.shape[:axis], count, *leaf.shape[axis:])), base, axes
    )
    lowered = jitted.lower(buffer, base, jnp.arange(1.0, 1 + count), np.int32(count))
    memory = lowered.compile().memory_analysis()
    model = sum(leaf.nbytes for leaf in jax.tree.leaves(base))
    assert memory.alias_size_in_bytes == count * model
    assert memory.temp_size_in_bytes < model / 100
