"""Task singular vectors against the paper's formulas."""

import numpy as np
import pytest

from evojax_merge.operators import tsv_merge
from tests.operators import subspace_reference as reference
from tests.operators.leaf import merge_leaf, tensors


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (16, 16)])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("lam", [1.0, 0.4])
def test_the_paper(shape, count, lam):
    base, sources = tensors(count, shape)
    weights = [0.7, 1.0, 1.3][:count]
    merged = merge_leaf(tsv_merge(lam), base, sources, weight=weights)
    expected = reference.tsv_merge(base, sources, weights, lam)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6)


def test_other_tensors_are_averaged():
    base, sources = tensors(3, (7,))
    merged = merge_leaf(tsv_merge(), base, sources, weight=[1.0, 1.0, 1.0])
    np.testing.assert_allclose(merged, np.mean(sources, axis=0), rtol=0, atol=1e-6)


def test_one_source_is_itself_and_equal_ones_keep_their_leading_directions():
    base, (source,) = tensors(1, (8, 12))
    alone = merge_leaf(tsv_merge(), base, (source,), weight=[1.0])
    np.testing.assert_allclose(alone, source, rtol=0, atol=1e-6)
    merged = merge_leaf(tsv_merge(), base, (source, source), weight=[1.0, 1.0])
    u, s, vt = np.linalg.svd((source - base).astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(merged, base + u[:, :4] * s[:4] @ vt[:4], rtol=0, atol=1e-6)


def test_sources_in_orthogonal_subspaces_are_added():
    rng = np.random.default_rng(0)
    base = rng.standard_normal((12, 8)).astype(np.float32)
    first, second = np.zeros((2, 12, 8), np.float32)
    first[:6, :4] = rng.standard_normal((6, 4))
    second[6:, 4:] = rng.standard_normal((6, 4))
    merged = merge_leaf(tsv_merge(), base, (base + first, base + second), weight=[0.5, 2.0])
    np.testing.assert_allclose(merged, base + 0.5 * first + 2 * second, rtol=0, atol=2e-6)


def test_the_order_of_sources_does_not_matter():
    base, sources = tensors(3, (10, 9))
    one = merge_leaf(tsv_merge(), base, sources, weight=[0.2, 0.5, 0.9])
    other = merge_leaf(tsv_merge(), base, sources[::-1], weight=[0.9, 0.5, 0.2])
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
