import ml_dtypes
import numpy as np
import pytest

from evojax_merge.operators.statistics import geometry
from evojax_merge.operators.statistics.inner_products import COUNT, LANES, LEAST, inner_products
from evojax_merge.operators.statistics.windows import ALIGNMENT, slack, window
from tests.slow import slow

DTYPES = (np.float32, np.float16, ml_dtypes.bfloat16)


def drawn(count, size, dtype, seed=0):
    """Fine-tunes near each other, each somewhere in memory of its own."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(size, dtype=np.float32)
    found = []
    for place in range(count):
        held = np.empty(size + place, dtype)
        held[place:] = common + np.float32(0.01) * rng.standard_normal(size, dtype=np.float32)
        found.append(held[place:])
    return found


def expected(origin, vectors, size):
    whole = size - size % LANES
    moved = [vector[:whole].astype(np.float32) for vector in vectors]
    if origin is not None:
        moved = [vector - origin[:whole].astype(np.float32) for vector in moved]
    moved = np.stack(moved).astype(np.float64)
    return moved @ moved.T


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("size", [LEAST, 2 * COUNT + LANES + 17, *slow(2 * COUNT)])
@pytest.mark.parametrize("based", [False, True])
def test_products_are_those_of_float64(dtype, size, based):
    origin, *vectors = drawn(4, size, dtype)
    found = inner_products(origin if based else None, vectors)
    wanted = expected(origin if based else None, vectors, size)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert (found == found.T).all()


def test_sources_may_be_of_different_dtypes():
    vectors = [drawn(1, LEAST, dtype)[0] for dtype in DTYPES]
    np.testing.assert_allclose(
        inner_products(None, vectors), expected(None, vectors, LEAST), rtol=1e-12
    )


def test_a_large_tensor_is_measured_as_its_small_parts_are(monkeypatch):
    """Whatever is left over when the pass ends is counted too, once."""
    vectors = drawn(3, COUNT + 3 * LANES + 5, np.float32)
    compiled = geometry(None, vectors, False)
    monkeypatch.setattr("evojax_merge.operators.statistics.gram.LEAST", COUNT * 10)
    for one, other in zip(compiled, geometry(None, vectors, False), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-12)


def test_equal_vectors_are_not_apart():
    (vector,) = drawn(1, LEAST, np.float32)
    measured = geometry(None, [vector, vector.copy()], False)
    assert not np.any(measured.distances)
    assert not np.any(measured.apart)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("place", [0, 1, 5])
def test_windows_hold_what_is_asked_for(dtype, place):
    count = 100
    tensor = np.arange(1000).astype(dtype)[place:]
    for first in range(0, len(tensor), 37):
        found = window(tensor, first, count)
        wanted = tensor[first : first + count]
        assert len(found.held) == count + slack(np.dtype(dtype))
        assert found.size == count
        np.testing.assert_array_equal(found.held[found.skip :][: len(wanted)], wanted)
        if slack(np.dtype(dtype)) <= first < len(tensor) - count - slack(np.dtype(dtype)):
            assert found.held.ctypes.data % ALIGNMENT == 0


def test_a_window_of_a_short_tensor_is_filled_up():
    found = window(np.arange(5, dtype=np.float32), 2, 100)
    np.testing.assert_array_equal(found.elements, [2, 3, 4] + [0] * 97)
