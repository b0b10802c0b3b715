import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evojax_merge.operators.base import element_index
from evojax_merge.operators.breadcrumbs import band_table
from evojax_merge.operators.steps.cuts import GRID, rank, snap
from evojax_merge.operators.ties import trim_table
from tests.operators.reference import trim
from tests.slow import slow


def kept(values, density, layered=False):
    vector = jnp.asarray(values, jnp.float32)
    table = trim_table(jnp.zeros_like(vector), vector, layered)
    return np.asarray(table.at(jnp.asarray(density, jnp.float32)).keeps(vector))


@pytest.mark.parametrize("size", [7, 1000, *slow(1, 4321)])
@pytest.mark.parametrize("repeated", [False, True])
def test_exactly_as_many_as_the_density_says_are_kept_at_every_grid_point(size, repeated):
    rng = np.random.default_rng(size)
    vector = rng.integers(-3, 4, size) if repeated else rng.standard_normal(size)
    vector = jnp.asarray(vector, jnp.float32)
    table = trim_table(jnp.zeros_like(vector), vector, False)
    densities = np.arange(GRID + 1) / GRID
    masks = jax.jit(jax.vmap(lambda d: table.at(d).keeps(vector)))(jnp.asarray(densities))
    expected = [0, *(max(1, int(d * size)) for d in densities[1:])]
    np.testing.assert_array_equal(masks.sum(axis=1), expected)
    assert not (masks[:-1] & ~masks[1:]).any(), "masks nest"


@settings(max_examples=12, deadline=None)
@given(
    values=st.lists(st.floats(-4, 4, width=32, allow_subnormal=False), min_size=1, max_size=40),
    step=st.integers(0, GRID),
)
def test_the_largest_are_kept(values, step):
    vector = np.asarray(values, np.float32)
    expected = trim(vector, step / GRID)
    np.testing.assert_array_equal(np.where(kept(vector, step / GRID), vector, 0), expected)


def test_equal_magnitudes_are_kept_evenly_over_the_tensor():
    mask = kept(np.ones((64, 100)), 0.25)
    assert mask.sum() == 1600
    np.testing.assert_allclose(mask.sum(axis=1), 25, atol=2)
    np.testing.assert_allclose(mask.sum(axis=0), 16, atol=3)


def test_layers_are_trimmed_apart():
    rng = np.random.default_rng(0)
    vector = rng.standard_normal((3, 4, 25)) * np.array([1, 10, 100])[:, None, None]
    masks = kept(vector, [0.1, 0.5, 1.0], layered=True)
    np.testing.assert_array_equal(masks.sum(axis=(1, 2)), [10, 50, 100])
    np.testing.assert_array_equal(kept(vector, 0.5, layered=True).sum(axis=(1, 2)), [50, 50, 50])


def test_densities_go_to_the_nearest_grid_point_and_are_bounded():
    vector = np.random.default_rng(0).standard_normal(2000)
    for density in (0.2004, 0.1996):
        np.testing.assert_array_equal(kept(vector, density), kept(vector, 0.2))
        assert snap(density) == 0.2
    assert kept(vector, 1.7).all()
    assert not kept(vector, -0.5).any()
    np.testing.assert_array_equal(snap([-1.0, 0.0004, 0.0006, 2.0]), [0.0, 0.0, 0.001, 1.0])


@pytest.mark.parametrize(("norm", "order"), [("l1", 1), ("l2", 2)])
def test_rescale_restores_the_norm(norm, order):
    rng = np.random.default_rng(0)
    vector = jnp.asarray(rng.standard_normal((2, 300)), jnp.float32)
    table = trim_table(jnp.zeros_like(vector), vector, True, norm)
    for density in (0.001, 0.2, 0.9, 1.0):
        trim_at = table.at(jnp.float32(density))
        sparse = jnp.where(trim_at.keeps(vector), vector, 0.0) * trim_at.rescale[:, None]
        np.testing.assert_allclose(
            jnp.linalg.norm(sparse, order, axis=1),
            jnp.linalg.norm(vector, order, axis=1),
            rtol=1e-5,
        )


@pytest.mark.parametrize("norm", [None, "l1", "l2", "linf"])
def test_a_zero_task_vector_is_not_rescaled(norm):
    table = trim_table(jnp.ones(5), jnp.ones(5), False, norm)
    np.testing.assert_array_equal(table.rescale, np.ones(GRID + 1))


@pytest.mark.few(1)
@pytest.mark.parametrize("size", [1, 1000, *slow(7, 4321)])
@pytest.mark.parametrize("gamma", [0.0, 0.01, *slow(0.001, 0.3)])
def test_a_band_drops_and_keeps_as_many_as_the_fractions_say(size, gamma):
    rng = np.random.default_rng(size)
    vector = jnp.asarray(np.round(rng.standard_normal(size) * 50), jnp.float32)
    table = band_table(jnp.zeros_like(vector), vector, False)
    densities = np.arange(GRID + 1) / GRID
    cuts = jax.vmap(lambda d: table.at(jnp.float32(gamma), d))(jnp.asarray(densities, jnp.float32))
    masks = jax.vmap(lambda cut: cut.keeps(vector))(cuts)
    order = np.lexsort((rank(np.arange(size, dtype=np.uint32)), -np.abs(vector)))
    for density, mask in zip(densities, np.asarray(masks), strict=True):
        kept = int(density * size)
        dropped = min(int(gamma * size), size - kept)
        expected = np.zeros(size, bool)
        expected[order[dropped : dropped + kept]] = True
        np.testing.assert_array_equal(mask, expected)


def test_element_index_counts_within_a_layer():
    np.testing.assert_array_equal(element_index((2, 3), layered=False), [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(
        element_index((2, 3, 2), layered=True), np.tile(np.arange(6).reshape(3, 2), (2, 1, 1))
    )
    np.testing.assert_array_equal(element_index((3,), layered=True), [0, 0, 0])
    assert element_index((), layered=False) == 0
