"""What holds for every operator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evojax_merge.operators import (
    breadcrumbs,
    breadcrumbs_ties,
    consensus_ta,
    constant_coefficients,
    dare_linear,
    dare_ties,
    della,
    della_linear,
    geometric_median,
    karcher,
    knots,
    linear,
    magmax,
    magmin,
    model_stock,
    multislerp,
    nearswap,
    nuslerp,
    passthrough,
    published,
    ram,
    ramplus,
    sce,
    slerp,
    task_arithmetic,
    task_vectors,
    ties,
)
from evojax_merge.params.tree import flatten
from tests.operators.conftest import FACTORIES, KIN, made, marked
from tests.operators.merging import assert_close, assert_equal, merge_once, random_coefficients

MERGES_EQUAL_TO_ITSELF = [
    (linear(), {}),
    (slerp(), {"t": 0.3}),
    (nuslerp(), {}),
    (nuslerp(along="rows"), {}),
    (nuslerp(along="columns", of_task_vectors=True), {}),
    (multislerp(), {}),
    (multislerp(of_task_vectors=True), {}),
    (karcher(), {}),
    (geometric_median(), {}),
    (model_stock(), {}),
    (passthrough(), {}),
    (nearswap(), {"t": 100.0}),
    (task_arithmetic(normalize=True), {}),
    (task_vectors("none", "count", normalize=True), {}),
    (ties(), {"density": 1.0}),
    (dare_linear(normalize=True), {"density": 1.0}),
    (dare_ties(normalize=True), {"density": 1.0}),
    (knots(), {"density": 1.0}),
    (breadcrumbs(normalize=True), {"density": 1.0}),
    (breadcrumbs_ties(normalize=True), {"density": 1.0}),
    (della(), {"density": 1.0}),
    (della_linear(normalize=True), {"density": 1.0}),
    (magmax(), {}),
    (magmin(), {}),
    (sce(), {"select_topk": 1.0}),
    (ram(), {}),
    (ramplus(), {}),
    (consensus_ta(lam=1 / 3), {"weight": 1.0, "threshold": 0.1}),
]
OTHER_NAMES = {factory.__name__ for factory in KIN}
ORDER_DOES_NOT_MATTER = [
    made(linear),
    made(multislerp),
    made(karcher),
    made(geometric_median),
    model_stock(filter_wise=True),
    made(task_arithmetic),
    made(ties),
    ties(rescale="l1"),
    breadcrumbs_ties(rescale="l2"),
    task_vectors("magnitude", "count", rescale="linf"),
    made(consensus_ta),
    made(ram),
    made(ramplus),
    made(sce),
]


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "dtype", [jnp.float32, jnp.bfloat16, pytest.param(jnp.float16, marks=pytest.mark.slow)]
)
def test_structure_shapes_and_dtype_are_kept(operator, models, dtype):
    base, sources = models(operator, dtype)
    coefficients = random_coefficients(operator, base, len(sources))
    merged = merge_once(operator, base, sources, coefficients)
    assert jax.tree.structure(merged) == jax.tree.structure(base)
    for path, leaf in flatten(merged).items():
        assert leaf.shape == flatten(base)[path].shape
        assert leaf.dtype == dtype


@pytest.mark.few(6)
def test_half_precision_is_computed_in_float32_and_rounded_once(operator, models):
    base, sources = models(operator, jnp.bfloat16)
    wide_base, wide_sources = jax.tree.map(lambda x: x.astype(jnp.float32), (base, sources))
    coefficients = random_coefficients(operator, base, len(sources))
    merged = merge_once(operator, base, sources, coefficients)
    wide = merge_once(operator, wide_base, wide_sources, coefficients)
    assert_equal(merged, jax.tree.map(lambda x: x.astype(jnp.bfloat16), wide))


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("operator", "values"),
    [
        pytest.param(*case, marks=[pytest.mark.slow] if case[0].name in OTHER_NAMES else [])
        for case in MERGES_EQUAL_TO_ITSELF
    ],
    ids=lambda value: getattr(value, "name", ""),
)
@settings(max_examples=4, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple),
    stacked=st.booleans(),
    seed=st.integers(0, 100),
)
def test_merging_equal_sources_gives_the_source(operator, values, shape, stacked, seed):
    rng = np.random.default_rng(seed)
    leaf = jnp.asarray(rng.standard_normal(shape), jnp.float32)
    root = "layers" if stacked else "head"
    base = {root: {"weight": leaf}}
    source = {root: {"weight": leaf + jnp.asarray(rng.standard_normal(shape), jnp.float32)}}
    sources = (source,) * (operator.sources[1] or 3)
    coefficients = constant_coefficients(operator, base, len(sources), **values)
    assert_close(merge_once(operator, base, sources, coefficients, seed), source, 2e-6)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(
    shape=st.sampled_from([(1,), (4,), (3, 5)]),  # few, so that most examples compile nothing
    base_scale=st.sampled_from([0.0, 1.0]),
    tuned_scale=st.sampled_from([0.0, 1e-30, 1e-3]),
    opposite=st.booleans(),
    values=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_zero_parallel_and_opposite_tensors_stay_finite(
    shape, base_scale, tuned_scale, opposite, values
):
    rng = np.random.default_rng(0)
    direction = jnp.asarray(rng.standard_normal(shape), jnp.float32)
    base = {"head": base_scale * direction}
    sign = -1.0 if opposite else 1.0
    sources = (
        {"head": base["head"] + tuned_scale * direction},
        {"head": sign * base["head"] + sign * 2 * tuned_scale * direction},
    )
    for operator in map(made, FACTORIES):
        taken = sources[: operator.sources[1]]
        given_values = {c.name: float(np.clip(values, *c.domain)) for c in operator.coefficients}
        coefficients = constant_coefficients(operator, base, len(taken), **given_values)
        merged = merge_once(operator, base, taken, coefficients)
        assert np.isfinite(merged["head"]).all(), operator.name


@pytest.mark.few(2)
@pytest.mark.parametrize("operator", ORDER_DOES_NOT_MATTER, ids=lambda operator: operator.name)
def test_the_order_of_sources_does_not_matter(operator, models):
    base, sources = models(operator)
    coefficients = random_coefficients(operator, base, len(sources))
    order = (2, 0, 1)
    permuted = tuple(sources[i] for i in order)
    shared = {c.name for c in operator.coefficients if not c.per_source}
    permuted_coefficients = {
        path: {
            name: value if name in shared else value[jnp.asarray(order)]
            for name, value in values.items()
        }
        for path, values in coefficients.items()
    }
    assert_close(
        merge_once(operator, base, permuted, permuted_coefficients),
        merge_once(operator, base, sources, coefficients),
    )


@pytest.mark.few(3)
@pytest.mark.parametrize(
    "factory",
    marked(
        [
            task_arithmetic,
            ties,
            dare_linear,
            dare_ties,
            breadcrumbs,
            breadcrumbs_ties,
            della,
            della_linear,
            magmax,
        ]
    ),
)
def test_weight_zero_gives_the_base_and_one_alone_gives_its_source(factory, models):
    operator = made(factory)
    base, sources = models(operator)
    zero = constant_coefficients(operator, base, 3, weight=0.0)
    assert_equal(merge_once(operator, base, sources, zero), base)
    values = {c.name: 1.0 for c in operator.coefficients if c.name in ("weight", "density")}
    one = constant_coefficients(operator, base, 3, **values)
    for leaf in one.values():
        leaf["weight"] = jnp.array([0.0, 1.0, 0.0])
    assert_close(merge_once(operator, base, sources, one), sources[1])


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "factory",
    marked([ties, dare_linear, dare_ties, breadcrumbs, breadcrumbs_ties, della, della_linear]),
)
def test_density_zero_gives_the_base(factory, models):
    operator = made(factory)
    base, sources = models(operator)
    coefficients = constant_coefficients(operator, base, 3, weight=1.0, density=0.0)
    assert_equal(merge_once(operator, base, sources, coefficients), base)


@pytest.mark.few(4)
@pytest.mark.parametrize("factory", marked(f for f in FACTORIES if not made(f).random))
def test_a_stacked_leaf_merges_as_its_layers_would_alone(factory, models):
    operator = made(factory)
    base, sources = models(operator)
    coefficients = random_coefficients(operator, base, len(sources))
    whole = merge_once(operator, base, sources, coefficients)
    path = "layers.up_proj.weight"
    for layer in range(3):
        alone = [{"alone": flatten(tree)[path][layer]} for tree in (base, *sources)]
        taken = {"alone": jax.tree.map(lambda x, i=layer: x[..., i], coefficients[path])}
        merged = merge_once(operator, alone[0], tuple(alone[1:]), taken)
        assert_close(merged["alone"], flatten(whole)[path][layer])


@pytest.mark.few(3)
def test_one_coefficient_for_all_layers_equals_the_same_one_for_each(typical, models):
    operator = typical
    base, sources = models(operator)
    shared = constant_coefficients(operator, base, len(sources))
    each = {
        path: {
            name: jnp.repeat(value[..., None], 3, axis=-1) if path.startswith("layers.") else value
            for name, value in values.items()
        }
        for path, values in shared.items()
    }
    assert_close(
        merge_once(operator, base, sources, shared),
        merge_once(operator, base, sources, each),
    )


def test_leaves_may_have_different_coefficients(models):
    operator = made(task_arithmetic)
    base, sources = models(operator)
    coefficients = constant_coefficients(operator, base, 3, weight=0.0)
    coefficients["norm.weight"]["weight"] = jnp.array([1.0, 0.0, 0.0])
    merged = merge_once(operator, base, sources, coefficients)
    assert_close(merged["norm"], sources[0]["norm"])
    assert_equal(merged["layers"], base["layers"])


def test_published_defaults(models):
    base, sources = models(linear())
    merged = {}
    for name, (operator, values) in published().items():
        coefficients = constant_coefficients(operator, base, 3, **values)
        merged[name] = merge_once(operator, base, sources, coefficients)
    mean = jax.tree.map(lambda *leaves: sum(leaves) / 3, *sources)
    assert_close(merged["average"], mean)
    added = jax.tree.map(lambda b, *s: b + 0.4 * (sum(s) - 3 * b), base, *sources)
    assert_close(merged["task_arithmetic"], added, 2e-6)
    assert set(merged) == {"average", "task_arithmetic", "ties"}


def test_scalars_are_merged(operator):
    """Models have them as scales; a vector of them where they are stacked."""
    if operator.evidence is not None:
        pytest.skip("asks for evidence")
    trees = [
        {"scale": jnp.float32(value), "layers": {"scale": jnp.array([value, 2 * value])}}
        for value in (1.0, 1.5, 1.25, 0.5)
    ]
    base, *sources = trees
    sources = tuple(sources[: operator.sources[1] or 3])
    coefficients = constant_coefficients(operator, base, len(sources))
    merged = merge_once(operator, base, sources, coefficients)
    assert jax.tree.map(jnp.shape, merged) == jax.tree.map(jnp.shape, base)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(merged))
