"""AdaRank against the paper's masked decomposition."""

import numpy as np
import pytest

from evojax_merge.operators import adarank
from tests.operators import subspace_reference as reference
from tests.operators.leaf import merge_leaf, tensors

WEIGHTS = [0.7, 0.2, 1.0]


def band(first, last, size):
    """A mask that keeps the directions from ``first`` to ``last``, with fractions at the ends."""
    return np.array([max(0.0, min(last, j + 1) - max(first, j)) for j in range(size)])


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (16, 16)])
@pytest.mark.parametrize(
    ("rank", "skip"),
    [((1.0, 0.5, 0.25), (0.0, 0.25, 0.0)), ((0.33, 0.9, 1.0), (0.1, 0.04, 0.5))],
)
def test_the_paper(shape, rank, skip):
    base, sources = tensors(3, shape)
    size = min(shape)
    merged = merge_leaf(adarank(), base, sources, weight=WEIGHTS, rank=rank, skip=skip)
    masks = [band(size * s, size * r, size) for r, s in zip(rank, skip, strict=True)]
    expected = reference.adarank(base, sources, WEIGHTS, masks)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=3e-6)


def test_at_the_start_it_is_task_arithmetic():
    base, sources = tensors(3, (9, 14))
    start = {c.name: [c.default] * 3 for c in adarank().coefficients}
    merged = merge_leaf(adarank(), base, sources, **start)
    expected = base + 0.3 * sum(source - base for source in sources)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("rank", "skip"), [(0.0, 0.0), (0.3, 0.3), (0.2, 0.9)])
def test_without_directions_it_is_the_base(rank, skip):
    base, sources = tensors(2, (9, 14))
    merged = merge_leaf(
        adarank(), base, sources, weight=[1.0] * 2, rank=[rank] * 2, skip=[skip] * 2
    )
    np.testing.assert_array_equal(merged, base)


def test_shares_are_of_the_directions_that_a_task_vector_has():
    base, _ = tensors(1, (20, 30))
    rng = np.random.default_rng(1)
    step = rng.standard_normal((20, 4)) @ rng.standard_normal((4, 30))
    source = (base + step).astype(np.float32)
    merged = merge_leaf(adarank(), base, (source,), weight=[1.0], rank=[0.5], skip=[0.0])
    assert np.linalg.matrix_rank(np.asarray(merged, np.float64) - base, tol=1e-4) == 2


def test_other_tensors_are_added():
    base, sources = tensors(3, (7,))
    merged = merge_leaf(adarank(), base, sources, weight=WEIGHTS, rank=[0.1] * 3, skip=[0.0] * 3)
    expected = base + sum(w * (s - base) for w, s in zip(WEIGHTS, sources, strict=True))
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6)
