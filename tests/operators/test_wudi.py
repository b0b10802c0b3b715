"""WUDI against the paper's loss."""

import numpy as np
import pytest

from evojax_merge.operators import wudi
from tests.operators import subspace_reference as reference
from tests.operators.leaf import merge_leaf, tensors


def interference(base, merged, sources):
    """The loss of a linear layer in the paper."""
    vectors = [np.asarray(source, np.float64) - base for source in sources]
    whole = np.asarray(merged, np.float64) - base
    return sum(np.sum(((whole - one) @ one.T) ** 2) / np.sum(one**2) for one in vectors)


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (16, 16)])
@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.3, 1.4, 0.0)])
def test_the_solution_of_the_papers_loss(shape, weights):
    base, sources = tensors(3, shape)
    merged = merge_leaf(wudi(), base, sources, weight=weights)
    expected = reference.wudi(base, sources, weights)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=5e-6)


def test_no_other_task_vector_interferes_less():
    base, sources = tensors(3, (10, 20))
    merged = np.asarray(merge_leaf(wudi(), base, sources, weight=(1.0,) * 3), np.float64)
    least = interference(base, merged, sources)
    rng = np.random.default_rng(0)
    for _ in range(20):
        moved = merged + 1e-3 * rng.standard_normal(merged.shape)
        assert interference(base, moved, sources) > least


def test_one_source_is_itself():
    base, sources = tensors(1, (8, 12))
    merged = merge_leaf(wudi(), base, sources, weight=(1.0,))
    np.testing.assert_allclose(merged, sources[0], rtol=0, atol=1e-6)


def test_other_tensors_are_averaged():
    base, sources = tensors(3, (7,))
    merged = merge_leaf(wudi(), base, sources, weight=(1.0,) * 3)
    np.testing.assert_allclose(merged, np.mean(sources, axis=0), rtol=0, atol=1e-6)
