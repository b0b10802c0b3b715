"""Merges that are linear combinations of the sources."""

import numpy as np
import pytest

from evojax_merge.operators import (
    arcee_fusion,
    geometric_median,
    karcher,
    model_stock,
    multislerp,
    nearswap,
    nuslerp,
    passthrough,
)
from tests.operators import reference
from tests.operators.leaf import merge_leaf, tensors

WEIGHTS = [0.3, 1.0, 0.6]
SCALES = [0.003, 0.3, 3.0]


@pytest.mark.parametrize(("along", "axis"), [("tensor", None), ("rows", -1), ("columns", 0)])
@pytest.mark.parametrize("of_task_vectors", [False, True])
@pytest.mark.parametrize("scale", SCALES)
def test_nuslerp_is_slerp_of_the_vectors(along, axis, of_task_vectors, scale):
    base, sources = tensors(2, scale=scale)
    merged = merge_leaf(nuslerp(along, of_task_vectors), base, sources, weight=[0.3, 0.9])
    expected = reference.nuslerp(*sources, [0.3, 0.9], axis, base if of_task_vectors else None)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6 * max(1, scale * 3))


@pytest.mark.parametrize("along", ["rows", "columns"])
def test_the_rows_of_a_stacked_leaf_are_those_of_its_layers(along):
    base, sources = tensors(2, (3, 4, 5))
    weights = np.array([[0.3, 0.5, 0.1], [0.9, 0.2, 0.7]])
    whole = merge_leaf(nuslerp(along), base, sources, layered=True, weight=weights)
    for layer in range(3):
        alone = merge_leaf(
            nuslerp(along), base[layer], tuple(s[layer] for s in sources), weight=weights[:, layer]
        )
        np.testing.assert_allclose(whole[layer], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_multislerp_is_one_step_in_the_tangent_space(scale):
    base, sources = tensors(3, scale=scale)
    merged = merge_leaf(multislerp(), None, sources, weight=WEIGHTS)
    expected = reference.multislerp(sources, WEIGHTS)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6 * max(1, scale * 3))
    vectors = [reference.task_vector(base, source) for source in sources]
    merged = merge_leaf(multislerp(of_task_vectors=True), base, sources, weight=WEIGHTS)
    expected = base + reference.multislerp(vectors, WEIGHTS)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6 * max(1, scale * 3))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("weights", [[1.0] * 3, WEIGHTS])
def test_karcher_is_the_mean_on_the_sphere(scale, weights):
    _, sources = tensors(3, scale=scale)
    merged = merge_leaf(karcher(60, 1e-7), None, sources, weight=weights)
    expected = reference.karcher(sources, weights)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=3e-6 * max(1, scale * 3))


def test_karcher_of_opposite_directions_starts_from_the_first():
    _, (source,) = tensors(1)
    merged = merge_leaf(karcher(), None, (source, -source), weight=[1.0, 1.0])
    assert np.isfinite(merged).all()
    merged = merge_leaf(karcher(), None, (0 * source, 0 * source), weight=[1.0, 1.0])
    np.testing.assert_array_equal(merged, 0 * source)


@pytest.mark.parametrize("of_task_vectors", [False, True])
@pytest.mark.parametrize("along", ["tensor", "rows", "columns"])
def test_nuslerp_of_opposite_directions_is_linear(along, of_task_vectors):
    base, (source,) = tensors(1)
    vector = source - base if of_task_vectors else source
    origin = base if of_task_vectors else 0 * base
    pair = (origin + vector, origin - 2 * vector)
    merged = merge_leaf(nuslerp(along, of_task_vectors), base, pair, weight=[0.7, 0.3])
    np.testing.assert_allclose(merged, 0.7 * pair[0] + 0.3 * pair[1], atol=1e-5)


def test_multislerp_of_directions_that_cancel_is_linear():
    _, (source,) = tensors(1)
    merged = merge_leaf(multislerp(), None, (source, -source), weight=[0.5, 0.5])
    np.testing.assert_allclose(merged, 0 * source, atol=1e-6)


@pytest.mark.parametrize("filter_wise", [False, True])
@pytest.mark.parametrize("shape", [(30, 40), (9,)])
@pytest.mark.parametrize("count", [2, 4])
def test_model_stock_is_the_paper(filter_wise, shape, count):
    base, sources = tensors(count, shape)
    common = tensors(1, shape, seed=9)[1][0] - base
    sources = tuple(source + common for source in sources)
    merged = merge_leaf(model_stock(filter_wise), base, sources, strength=1.0)
    expected = reference.model_stock(base, sources, filter_wise)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(
        merge_leaf(model_stock(filter_wise), base, sources, strength=0.0), base, atol=1e-7
    )


def test_model_stock_of_opposite_updates_is_the_base():
    base, (source,) = tensors(1)
    merged = merge_leaf(model_stock(), base, (source, 2 * base - source), strength=1.0)
    np.testing.assert_allclose(merged, base, atol=1e-6)


@pytest.mark.parametrize("weights", [[1.0] * 3, WEIGHTS])
def test_geometric_median_is_weiszfeld(weights):
    _, sources = tensors(3)
    merged = merge_leaf(geometric_median(64), None, sources, weight=weights)
    expected = reference.geometric_median(sources, weights)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=5e-6)


def test_an_odd_source_hardly_moves_the_geometric_median():
    base, sources = tensors(4, scale=0.01)
    odd = base + 100.0
    median = merge_leaf(geometric_median(), None, (*sources, odd), weight=[1.0] * 5)
    assert np.abs(median - base).max() < 0.1


@pytest.mark.parametrize("t", [0.0, 0.03, 10.0])
def test_nearswap_moves_by_at_most_t(t):
    base, sources = tensors(1)
    merged = merge_leaf(nearswap(), base, sources, t=t)
    np.testing.assert_allclose(merged, reference.nearswap(base, sources[0], t), atol=1e-6)
    assert np.abs(merged - base).max() <= t + 1e-6


@pytest.mark.parametrize("spread", [0.0, 1.5])
@pytest.mark.parametrize("shape", [(30, 40), (50,), (4, 5, 6)])
def test_arcee_fusion_takes_what_is_important(spread, shape):
    base, sources = tensors(1, shape)
    merged = merge_leaf(arcee_fusion(), base, sources, spread=spread)
    expected, _ = reference.arcee_fusion(base, sources[0], spread)
    agree = np.isclose(merged, expected, rtol=0, atol=1e-6)
    # float32 may order the element at a quartile and its neighbour the other way round.
    assert np.count_nonzero(~agree) <= 2
    assert np.count_nonzero(merged != base) < base.size


def test_passthrough_at_scale_one_is_the_source_to_the_bit():
    _, sources = tensors(1)
    np.testing.assert_array_equal(merge_leaf(passthrough(), None, sources, scale=1.0), sources[0])
    np.testing.assert_array_equal(
        merge_leaf(passthrough(), None, sources, scale=0.5), sources[0] / 2
    )


def test_the_geometric_median_grows_with_its_sources():
    """Squared distances beyond float32: 1e4 elements around 1e18."""
    base, sources = tensors(3, (100, 100))
    huge = tuple(np.float32(2.0**60) * source for source in sources)
    weight = [0.2, 0.5, 0.9]
    merged = merge_leaf(geometric_median(), base, huge, weight=weight)
    expected = merge_leaf(geometric_median(), base, sources, weight=weight)
    np.testing.assert_allclose(merged / np.float32(2.0**60), expected, rtol=1e-6)
