import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evojax_merge.operators import order_statistics
from evojax_merge.operators.order_statistics import rank, select

METHODS = [
    order_statistics._sort,
    order_statistics._radix_select,
    order_statistics._sort_on_device,
]


def greatest(values, found, position):
    ranks = rank(np.arange(values.size, dtype=np.uint32))
    threshold, cutoff = found.threshold[position], found.cutoff[position]
    return (values > threshold) | ((values == threshold) & (ranks <= cutoff))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
@pytest.mark.parametrize("kind", ["continuous", "repeated", "equal", "zero"])
@pytest.mark.parametrize("size", [1, 5, 1000, 300_000])
def test_the_greatest_are_found_and_summed(method, kind, size):
    rng = np.random.default_rng(size)
    values = np.abs(rng.standard_normal(size)).astype(np.float32)
    if kind == "repeated":
        values = np.round(values * 3)
    if kind in ("equal", "zero"):
        values = np.full_like(values, float(kind == "equal"))
    weights = [values, rng.random(size).astype(np.float32)]
    counts = np.unique(np.maximum(1, (np.arange(1, 1001) / 1000 * size).astype(np.int64)))
    found = method(values, counts, weights)
    order = np.lexsort((rank(np.arange(size, dtype=np.uint32)), -values))
    for weight, sums in zip(weights, found.sums, strict=True):
        exact = np.cumsum(weight[order], dtype=np.float64)[counts - 1]
        np.testing.assert_allclose(sums, exact, rtol=1e-9)
    np.testing.assert_array_equal(found.threshold, values[order[counts - 1]])
    for position in range(0, len(counts), max(1, len(counts) // 10)):
        mask = greatest(values, found, position)
        np.testing.assert_array_equal(np.flatnonzero(mask), np.sort(order[: counts[position]]))


@settings(max_examples=20, deadline=None)
@given(
    values=st.lists(
        st.floats(0, 2.0**90, width=32, allow_subnormal=False), min_size=1, max_size=60
    ),
    data=st.data(),
)
def test_any_counts_in_any_order(values, data):
    values = np.asarray(values, np.float32)
    counts = data.draw(st.lists(st.integers(0, values.size), min_size=1, max_size=8))
    found = select(values, np.array(counts))
    for position, count in enumerate(counts):
        assert greatest(values, found, position).sum() == count
