"""What holds for all operators that decompose the task vectors of a matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.operators import (
    adarank,
    constant_coefficients,
    iso_c,
    iso_cts,
    knots,
    larv,
    svc,
    tsv_merge,
    wudi,
)
from tests.operators.leaf import merge_leaf, tensors
from tests.operators.merging import assert_equal, merge_once, random_coefficients
from tests.slow import slow
from tests.trees import init_statistics

KEY = jnp.uint32(0)  # nothing is drawn
OPERATORS = [
    tsv_merge(),
    iso_c(),
    iso_cts(0.5),
    knots(),
    knots(consensus="none"),
    wudi(),
    svc(),
    adarank(),
]


def values(operator, sources, number=0.8):
    return {c.name: [number] * sources if c.per_source else number for c in operator.coefficients}


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.name)
@pytest.mark.parametrize("shape", [(6, 9), (1, 5), (7,), *slow((9, 6), (5, 1), (1, 1), (2, 3, 4))])
@pytest.mark.parametrize("size", [0.0, 1e-30, *slow(1.0)])
def test_zero_small_and_equal_task_vectors_stay_finite(operator, shape, size):
    base, (moved, *_) = tensors(1, shape)
    source = (base + size * (moved - base)).astype(np.float32)
    for sources in [(source,) * 3, (base, source, base), (base,) * 3]:
        merged = merge_leaf(operator, base, sources, **values(operator, 3))
        assert np.isfinite(merged).all()
        if all((s == base).all() for s in sources):
            np.testing.assert_array_equal(merged, base)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.name)
def test_a_stacked_leaf_merges_as_its_layers_would_alone(operator):
    base, sources = tensors(3, (3, 8, 6))
    for source in sources:  # fewer directions in one layer, none in another
        source[1] = base[1] + np.outer(source[1, :, 0], source[1, 0])
        source[2] = base[2]
    whole = merge_leaf(operator, base, sources, layered=True, **values(operator, 3))
    for layer in range(3):
        alone = tuple(source[layer] for source in sources)
        expected = merge_leaf(operator, base[layer], alone, **values(operator, 3))
        np.testing.assert_allclose(whole[layer], expected, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.name)
def test_gradients_are_finite(operator):
    base, sources = tensors(3, (8, 6))
    statistics = operator.init(base, sources, False)
    given = values(operator, 3)
    numbers = {name: jnp.asarray(value, jnp.float32) for name, value in given.items()}

    def total(numbers):
        return jnp.square(operator.merge(base, sources, numbers, statistics, KEY)).sum()

    population = jax.tree.map(lambda x: jnp.stack([x, 0.5 * x]), numbers)
    gradients = jax.vmap(jax.grad(total))(population)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    name = "weight" if "weight" in numbers else "scale"
    first = jnp.asarray([0.01, 0.0, 0.0] if name == "weight" else 0.01)
    ends = [total(numbers | {name: numbers[name] + sign * first}) for sign in (1, -1)]
    slope = gradients[name][0].ravel()[0]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 0.02, rtol=0.02)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.name)
def test_statistics_are_the_same_bits_every_time(operator, models):
    base, sources = models(operator)
    once, again = (init_statistics(operator, base, sources) for _ in range(2))
    assert_equal(once, again)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.name)
def test_vmap_gives_the_same_bits_where_shapes_change_how_matrices_are_multiplied(operator):
    rng = np.random.default_rng(0)
    base, *sources = ({"w": rng.standard_normal((32, 40), np.float32)} for _ in range(4))
    sources = tuple(sources)
    statistics = init_statistics(operator, base, sources)
    candidates = [random_coefficients(operator, base, 3, seed) for seed in range(3)]
    population = jax.tree.map(lambda *leaves: jnp.stack(leaves), *candidates)

    def one(statistics, numbers):
        leaf = operator.merge(
            base["w"], tuple(s["w"] for s in sources), numbers["w"], statistics["w"], KEY
        )
        return leaf.astype(jnp.float32)

    together = jax.jit(jax.vmap(one, in_axes=(None, 0)))(statistics, population)
    alone = jnp.stack([jax.jit(one)(statistics, candidate) for candidate in candidates])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(
    "operator", [tsv_merge(), knots(), wudi(), svc(), adarank(), larv()], ids=lambda o: o.name
)
def test_weight_zero_gives_the_base(operator, models):
    base, sources = models(operator)
    zero = constant_coefficients(operator, base, len(sources), weight=0.0)
    assert_equal(merge_once(operator, base, sources, zero), base)
