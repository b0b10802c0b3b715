"""LoRA adapters as sources of every operator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge import operators
from evojax_merge.operators import dare_ties, knots, linear, sce, task_arithmetic, ties, tsv_merge
from evojax_merge.params.low_rank import LowRank, Unchanged, materialise
from evojax_merge.params.tree import flatten, unflatten
from tests.operators.merging import (
    assert_close,
    assert_equal,
    merge_once,
    random_coefficients,
)
from tests.trees import init_statistics, merge

SHAPES = {
    "embed_tokens.weight": (40, 32),
    "layers.norm.weight": (3, 32),
    "layers.q_proj.weight": (3, 32, 40),
    "norm.weight": (32,),
}
SEVERAL = (linear, task_arithmetic, ties, dare_ties, sce, knots, tsv_merge)
several = pytest.mark.parametrize("factory", SEVERAL, ids=lambda factory: factory.__name__)
ADAPTED = ("embed_tokens.weight", "layers.q_proj.weight")


def base_model(seed=0, scale=1.0, dtype=jnp.float32):
    rng = np.random.default_rng(seed)
    return unflatten(
        {p: jnp.asarray(scale * rng.standard_normal(s), dtype) for p, s in SHAPES.items()}
    )


def adapter(seed, rank=5, dtype=jnp.float32):
    """Adapts two leaves, of the stacked one not the last layer."""
    rng = np.random.default_rng(seed)
    leaves = {}
    for path, shape in SHAPES.items():
        if path not in ADAPTED:
            leaves[path] = Unchanged(shape, np.dtype(np.float32))
            continue
        *layers, rows, columns = shape
        scale = rng.uniform(0.5, 2.0, layers)
        if layers:
            scale[-1] = 0.0
        b = 0.1 * rng.standard_normal((*layers, rows, rank))
        a = rng.standard_normal((*layers, rank, columns))
        leaves[path] = LowRank(
            jnp.asarray(b, dtype), jnp.asarray(a, dtype), jnp.asarray(scale, jnp.float32)
        )
    return unflatten(leaves)


def adapters(operator):
    return tuple(adapter(1 + i, rank=3 + i) for i in range(operator.sources[1] or 3))


def test_the_factors_stay_factors():
    base, (source, *_) = base_model(), adapters(linear())
    leaf = flatten(source)["layers.q_proj.weight"]
    dense = leaf.scale[:, None, None] * np.einsum("lor,lri->loi", leaf.b, leaf.a)
    whole = flatten(materialise(base, source))
    expected = flatten(base)["layers.q_proj.weight"] + dense
    np.testing.assert_allclose(whole["layers.q_proj.weight"], expected, rtol=0, atol=2e-6)
    assert whole["norm.weight"] is flatten(base)["norm.weight"]


@pytest.mark.few(3)
def test_adapters_merge_as_the_models_that_they_make(typical):
    operator = typical
    # From a base of zeros a dense source's task vector is what an adapter adds, to the bit, so
    # that operators which cut at a threshold cut at the same one.
    base, sources = jax.tree.map(jnp.zeros_like, base_model()), adapters(operator)
    dense = tuple(materialise(base, source) for source in sources)
    coefficients = random_coefficients(operator, base, len(sources))
    merged = merge_once(operator, base, sources, coefficients)
    assert_close(merged, merge_once(operator, base, dense, coefficients), 2e-6)


@pytest.mark.few(3)
@several
def test_adapters_and_checkpoints_merge_together(factory):
    operator = factory()
    base, (_, *sources) = jax.tree.map(jnp.zeros_like, base_model()), adapters(operator)
    sources = (base_model(9, 0.1), *sources)
    dense = tuple(materialise(base, source) for source in sources)
    coefficients = random_coefficients(operator, base, len(sources))
    merged = merge_once(operator, base, sources, coefficients)
    assert_close(merged, merge_once(operator, base, dense, coefficients), 2e-6)


@pytest.mark.few(2)
@several
def test_one_candidate_and_a_population_give_the_same_bits(factory):
    operator = factory()
    base, sources = base_model(), adapters(operator)
    statistics = init_statistics(operator, base, sources)
    candidates = [random_coefficients(operator, base, len(sources), seed) for seed in range(3)]
    population = jax.tree.map(lambda *leaves: jnp.stack(leaves), *candidates)

    def one(materials, coefficients):
        base, sources, statistics = materials
        return merge(operator, base, sources, coefficients, statistics, jnp.uint32(7))

    materials = (base, sources, statistics)
    jitted = jax.jit(one)
    loop = [jitted(materials, candidate) for candidate in candidates]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *loop)
    together = jax.jit(jax.vmap(one, in_axes=(None, 0)))(materials, population)
    assert_equal(together, stacked)


def test_strict_promotion_holds(typical):
    operator = typical
    base = base_model(dtype=jnp.bfloat16)
    sources = adapters(operator)
    half = tuple(adapter(1 + i, dtype=jnp.bfloat16) for i in range(len(sources)))
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        statistics = init_statistics(operator, base, sources)
        coefficients = operators.constant_coefficients(operator, base, len(sources))
        for given in (sources, half):
            merged = jax.eval_shape(
                lambda *trees: merge(operator, *trees, 0), base, given, coefficients, statistics
            )
            assert {leaf.dtype for leaf in jax.tree.leaves(merged)} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("density", [0.001, 0.2, 0.537, 1.0])
def test_trimming_keeps_exactly_the_density(density):
    base, source = jax.tree.map(jnp.zeros_like, base_model()), adapter(1)
    coefficients = operators.constant_coefficients(ties(), base, 1, weight=1.0, density=density)
    merged = flatten(merge_once(ties(), base, (source,), coefficients))
    kept = [np.count_nonzero(layer) for layer in merged["layers.q_proj.weight"]]
    number = max(1, int(density * 32 * 40))
    assert kept == [number, number, 0]


def test_a_sum_of_adapters_is_one_product_a_leaf():
    operator = task_arithmetic()
    base, sources = base_model(), adapters(operator)
    statistics = init_statistics(operator, base, sources)
    coefficients = random_coefficients(operator, base, len(sources))
    jaxpr = jax.make_jaxpr(lambda *trees: merge(operator, *trees, 0))(
        base, sources, coefficients, statistics
    )
    assert str(jaxpr).count("dot_general[") == len(ADAPTED)


def test_what_is_unchanged_stays_the_base_to_the_bit():
    base, sources = base_model(), adapters(task_arithmetic())
    for operator in (task_arithmetic(), ties()):
        coefficients = random_coefficients(operator, base, 3)
        merged = flatten(merge_once(operator, base, sources, coefficients))
        for path in SHAPES.keys() - set(ADAPTED):
            np.testing.assert_array_equal(merged[path], flatten(base)[path])
        last = [flatten(tree)["layers.q_proj.weight"][-1] for tree in (unflatten(merged), base)]
        np.testing.assert_array_equal(*last)


@pytest.mark.few(1)
@pytest.mark.parametrize("operator", [task_arithmetic(), ties(), linear()], ids=lambda o: o.name)
def test_gradients_are_finite(operator):
    base, sources = base_model(), adapters(operator)
    statistics = init_statistics(operator, base, sources)

    def total(coefficients, materials):
        base, sources, statistics = materials
        merged = merge(operator, base, sources, coefficients, statistics, 0)
        return sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(merged))

    gradients = jax.jit(jax.grad(total))(
        random_coefficients(operator, base, 3), (base, sources, statistics)
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(gradients))


def test_without_a_base_an_adapter_is_refused():
    base, sources = base_model(), adapters(linear())
    with pytest.raises(ValueError, match="LoRA adapter or lacks a part, and needs the base"):
        init_statistics(linear(), None, sources)
    with pytest.raises(ValueError, match="LoRA adapter or lacks a part, and needs the base"):
        merge(linear(), None, sources, random_coefficients(linear(), base, 3), {}, 0)


def test_an_adapter_of_another_model_is_refused():
    base, (source, *_) = base_model(), adapters(linear())
    base["layers"]["q_proj"]["weight"] = jnp.ones((3, 32, 41))
    with pytest.raises(ValueError, match=r"q_proj.weight: source 0 has shape \(3, 32, 40\)"):
        init_statistics(linear(), base, (source,))
