import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evojax_merge.operators import order_statistics
from evojax_merge.operators.nesting import first_cut
from evojax_merge.operators.on_device import Ordered
from evojax_merge.operators.order_statistics import select
from evojax_merge.operators.ordering import ALL, Cuts, rank
from evojax_merge.operators.radix import radix_select


def sort_on_device(values, counts):
    return Ordered(jnp.asarray(values)).cuts(counts)


METHODS = [order_statistics.sort, radix_select, sort_on_device]


def greatest(values, found, position):
    ranks = rank(np.arange(values.size, dtype=np.uint32))
    threshold, cutoff = found.threshold[position], found.cutoff[position]
    return (values > threshold) | ((values == threshold) & (ranks <= cutoff))


KINDS = ["continuous", "bfloat16", "repeated", "levels", "mostly zero", "outlier", "equal", "zero"]


def draw(kind, size):
    """Magnitudes: of fine-tunes in two dtypes, and with many equal ones or a wide range."""
    rng = np.random.default_rng(size)
    values = np.abs(rng.standard_normal(size)).astype(np.float32)
    if kind == "bfloat16":
        base = 0.02 * rng.standard_normal(size, dtype=np.float32)
        ends = [x.astype("bfloat16").astype(np.float32) for x in (base, base + 0.002 * values)]
        return np.abs(ends[1] - ends[0])
    if kind == "levels":
        return rng.integers(0, 200, size).astype(np.float32) * np.float32(0.1234567)
    if kind == "mostly zero":
        return np.where(rng.random(size) < 0.9, np.float32(0), values)
    if kind == "outlier":
        values[size // 2] = 1e30
    if kind == "repeated":
        values = np.round(values * 3)
    if kind in ("equal", "zero"):
        values = np.full_like(values, 0.1 * (kind == "equal"))
    return values


def some_counts(size):
    return np.unique(np.maximum(1, (np.arange(1, 1001) / 1000 * size).astype(np.int64)))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 5, 1000, 300_000])
def test_the_greatest_are_found(method, kind, size):
    values, counts = draw(kind, size), some_counts(size)
    found = method(values, counts)
    ranks = rank(np.arange(size, dtype=np.uint32))
    order = np.lexsort((ranks, -values))
    following = np.r_[values[order], -1.0].astype(np.float32)[counts]
    np.testing.assert_array_equal(found.threshold, values[order[counts - 1]])
    whole = following != found.threshold
    np.testing.assert_array_equal(found.cutoff, np.where(whole, ALL, ranks[order[counts - 1]]))
    for position in range(0, len(counts), max(1, len(counts) // 10)):
        mask = greatest(values, found, position)
        np.testing.assert_array_equal(np.flatnonzero(mask), np.sort(order[: counts[position]]))


@pytest.mark.parametrize("where", [np.asarray, jnp.asarray], ids=["host", "device"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 5, 1000, 300_000])
def test_the_first_cut_of_an_element_is_found_and_weights_are_summed(kind, size, where):
    values, counts = draw(kind, size), some_counts(size)[:-1:3]
    counts = np.r_[0, counts]
    weights = [values, np.random.default_rng(0).random(size).astype(np.float32)]
    found = select(where(values), counts, [where(weight) for weight in weights])
    order = np.lexsort((rank(np.arange(size, dtype=np.uint32)), -values))
    for weight, sums in zip(weights, found.sums, strict=True):
        exact = np.r_[0.0, np.cumsum(weight[order], dtype=np.float64)][counts]
        np.testing.assert_allclose(sums, exact, rtol=1e-9)
    first = np.empty(size, np.int64)
    first[order] = np.searchsorted(counts, np.arange(1, size + 1))
    if where is jnp.asarray:
        found_first = np.asarray(Ordered(where(values)).first_cut(counts))
    else:
        found_first = first_cut(values, Cuts(found.threshold, found.cutoff))
    np.testing.assert_array_equal(found_first, first)


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
