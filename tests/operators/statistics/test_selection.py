import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evojax_merge.operators.statistics import cuts_of, select
from evojax_merge.operators.statistics.numbers import Numbers
from evojax_merge.operators.statistics.on_host import Ordered, common_buckets
from evojax_merge.operators.statistics.pieces import LARGE, SMALL
from evojax_merge.operators.statistics.selection import ordered
from evojax_merge.operators.steps.cuts import ALL, Cut, rank
from tests.slow import slow

SIZES = [5, 300_000, *slow(1, 1000)]


def in_order(values):
    """The elements from the greatest, equal ones by rank."""
    return np.lexsort((rank(np.arange(values.size, dtype=np.uint32)), -values))


def expected_cut(values, counts):
    ranks, order = rank(np.arange(values.size, dtype=np.uint32)), in_order(values)
    threshold = values[order[counts - 1]]
    following = np.r_[values[order], -1.0].astype(np.float32)[counts]
    return Cut(threshold, np.where(following != threshold, ALL, ranks[order[counts - 1]]))


def assert_same_cut(found, expected):
    np.testing.assert_array_equal(found.threshold, expected.threshold)
    np.testing.assert_array_equal(found.cutoff, expected.cutoff)


def greatest(values, found, position):
    cut = Cut(*(x[position] for x in found))
    return np.asarray(cut.holds(values, rank(np.arange(values.size, dtype=np.uint32))))


def of_file(values, counts):
    """Read in pieces; only some counts, each of which is searched for by itself."""
    some = np.unique(counts[np.linspace(0, len(counts) - 1, 7).astype(int)])

    def pieces():
        for first in range(0, values.size, 999):
            yield first, [values[first : first + 999]]

    (cuts,) = cuts_of(pieces, [some.tolist()])
    return some, Cut(*(np.array(x) for x in zip(*cuts, strict=True)))


def on_host(values, counts):
    return counts, select(ordered(values), counts).cut


def on_device(values, counts):
    return counts, select(ordered(jnp.asarray(values)), counts).cut


KINDS = [
    *("bfloat16", "repeated", "mostly zero", "outlier"),
    *slow("continuous", "levels", "equal", "zero"),
]


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


@pytest.mark.few(12)
@pytest.mark.parametrize("method", [on_host, on_device, of_file])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_greatest_are_found_on_every_platform(method, kind, size):
    values = draw(kind, size)
    counts, found = method(values, some_counts(size))
    order = in_order(values)
    if method is not of_file:  # which does not look whether an equal element follows
        assert_same_cut(found, expected_cut(values, counts))
    for position in range(0, len(counts), max(1, len(counts) // 10)):
        mask = greatest(values, found, position)
        np.testing.assert_array_equal(np.flatnonzero(mask), np.sort(order[: counts[position]]))


def first_of(values, counts):
    """By element, the first count of which it is."""
    first = np.empty(values.size, np.int64)
    first[in_order(values)] = np.searchsorted(counts, np.arange(1, values.size + 1))
    return first


@pytest.mark.parametrize("where", [np.asarray, jnp.asarray], ids=["host", "device"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_the_first_set_of_an_element_is_found(kind, size, where):
    values, counts = draw(kind, size), np.r_[0, some_counts(size)[:-1:3]]
    order = ordered(where(values))
    assert (order.size, order.zeros) == (size, np.count_nonzero(values == 0))
    np.testing.assert_array_equal(order.first(counts), first_of(values, counts))


def exact_sums(terms, values, counts):
    return np.r_[0.0, np.cumsum(terms[in_order(values)], dtype=np.float64)][counts]


@pytest.mark.few(3)
@pytest.mark.parametrize("where", [np.asarray, jnp.asarray], ids=["host", "device"])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_the_greatest_are_summed(kind, size, power, where):
    values = np.minimum(draw(kind, size), np.float32(1e15))  # whose square is a float32
    for counts in (np.r_[0, some_counts(size)[:-1:3]], some_counts(size), np.array([size, 1, 0])):
        found = select(ordered(where(values)), counts, power)
        np.testing.assert_allclose(found.sums, exact_sums(values**power, values, counts), rtol=1e-9)


@pytest.mark.parametrize("where", [np.asarray, jnp.asarray], ids=["host", "device"])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_other_numbers_of_the_greatest_are_summed(kind, size, power, where):
    values, counts = draw(kind, size), np.r_[0, some_counts(size)[:-1:3]]
    weights = np.random.default_rng(0).random(size).astype(np.float32)
    (sums,) = ordered(where(values)).sums_of([where(weights)], counts, power)
    np.testing.assert_allclose(sums, exact_sums(weights**power, values, counts), rtol=1e-9)


@pytest.mark.parametrize("kind", ["continuous", "bfloat16"])
def test_a_tensor_of_several_pieces_of_both_lengths(kind):
    values = draw(kind, LARGE + 2 * SMALL + 77)
    counts = some_counts(values.size)
    order = ordered(values)
    assert_same_cut(order.cut(counts), expected_cut(values, counts))
    np.testing.assert_array_equal(order.first(counts), first_of(values, counts))


@pytest.mark.parametrize("kind", KINDS)
def test_sets_may_end_anywhere_among_equal_numbers(kind):
    """Of every few elements one ends a set, also where a bucket ends or only one is left."""
    values = draw(kind, SMALL + 5)
    counts = np.unique(np.r_[1 : values.size : 17, values.size - 1, values.size])
    assert_same_cut(select(ordered(values), counts).cut, expected_cut(values, counts))


def test_numbers_far_from_those_drawn_are_in_order():
    values = draw("bfloat16", 300_000)
    odd = np.arange(1, 4000, 7)
    values[odd] *= np.float32(1e9) * (1 + np.arange(odd.size, dtype=np.float32) % 5)
    values[odd + 1] *= np.float32(1e-20)
    counts = np.unique(np.r_[1 : odd.size + 5, some_counts(values.size), values.size - 600])
    assert_same_cut(select(ordered(values), counts).cut, expected_cut(values, counts))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("sources", [1, 3, *slow(2, 5)])
def test_what_a_program_makes_has_the_bits_of_what_the_host_makes(sources, dtype):
    rng = np.random.default_rng(sources)
    base = 0.02 * rng.standard_normal(70_000, dtype=np.float32)
    ends = [base + 0.002 * rng.standard_normal(70_000, dtype=np.float32) for _ in range(sources)]
    ends = [end.astype(dtype) for end in ends]
    origin = base.astype(dtype)
    numbers = Numbers.variance(ends, origin) if sources > 1 else Numbers((ends[0],), origin)
    vectors = np.stack([end.astype(np.float32) - origin.astype(np.float32) for end in ends])
    expected = np.var(vectors - vectors[0], axis=0) if sources > 1 else np.abs(vectors[0])
    np.testing.assert_array_equal(numbers.made(), expected)
    with jax.enable_x64(True):
        made = jax.jit(Numbers.made)(numbers)
    np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize("size", [1000, SMALL + 5])
def test_subnormal_numbers_are_zeros_as_they_are_to_a_merge(size):
    values = draw("mostly zero", size)
    values[::3] = 1e-40
    flushed = np.where(values < 1e-38, np.float32(0), values)
    counts = some_counts(size)
    assert_same_cut(select(ordered(values), counts).cut, expected_cut(flushed, counts))


def test_common_buckets_serve_layers_that_are_alike_and_no_others():
    alike = [draw("continuous", SMALL + 5)[::-1], draw("continuous", SMALL + 5)]
    apart = [alike[0], np.float32(1e-12) * alike[1]]
    counts = some_counts(SMALL + 5)
    for layers in (alike, apart):
        common = common_buckets(Numbers((np.concatenate(layers),)), 2)
        for values in layers:
            order = Ordered(Numbers((values,)), common)
            np.testing.assert_array_equal(order.first(counts), first_of(values, counts))
            assert_same_cut(order.cut(counts), expected_cut(values, counts))


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
    found = select(ordered(values), np.array(counts)).cut
    for position, count in enumerate(counts):
        assert greatest(values, found, position).sum() == count


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", [1000, SMALL + 5])
def test_weights_that_are_subnormal_are_zeros_too(dtype, size):
    rng = np.random.default_rng(size)
    end, origin = (1e-38 * rng.standard_normal((2, size))).astype(dtype)
    normal = [np.where(np.abs(x) < 1.1754944e-38, 0, x).astype(np.float32) for x in (end, origin)]
    moved = np.abs(normal[0] - normal[1])
    moved[moved < 1.1754944e-38] = 0
    counts = some_counts(size)
    order = ordered(Numbers((end,), origin))
    assert_same_cut(order.cut(counts), expected_cut(moved, counts))
    np.testing.assert_array_equal(order.first(counts), first_of(moved, counts))
