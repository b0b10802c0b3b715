"""SVC against the paper's algorithm."""

import numpy as np
import pytest

from evojax_merge.operators import svc
from tests.operators import subspace_reference as reference
from tests.operators.leaf import merge_leaf, tensors
from tests.operators.reference import task_vector


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (16, 16)])
@pytest.mark.parametrize(("count", "weight", "alpha"), [(1, 0.3, 0.1), (3, 0.3, 0.5), (3, 1.0, 1)])
def test_the_paper(shape, count, weight, alpha):
    base, sources = tensors(count, shape)
    merged = merge_leaf(svc(), base, sources, weight=[weight] * count, alpha=alpha)
    expected = reference.svc(base, sources, weight, alpha)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=5e-6)


def test_what_all_sources_share_is_counted_once():
    base, (source,) = tensors(1, (8, 12))
    merged = merge_leaf(svc(), base, (source,) * 3, weight=[1.0] * 3, alpha=0.1)
    np.testing.assert_allclose(merged, source, rtol=0, atol=2e-6)


def test_directions_that_no_source_shares_are_added():
    base, _ = tensors(1, (6, 9))
    sources = []
    for i in range(3):
        alone = np.zeros_like(base)
        own = slice(2 * i, 2 * i + 2), slice(3 * i, 3 * i + 3)
        alone[own] = np.random.default_rng(i).standard_normal((2, 3))
        sources.append(base + alone)
    merged = merge_leaf(svc(), base, sources, weight=[1.0] * 3, alpha=1.0)
    total = sum(task_vector(base, source) for source in sources)
    np.testing.assert_allclose(merged, base + total, rtol=0, atol=5e-6)


def test_with_alpha_one_and_weights_one_no_singular_value_grows():
    base, sources = tensors(3, (10, 20))
    merged = merge_leaf(svc(), base, sources, weight=[1.0] * 3, alpha=1.0)
    total = sum(task_vector(base, source) for source in sources)
    before = np.linalg.svd(total, compute_uv=False)
    after = np.linalg.svd(np.asarray(merged, np.float64) - base, compute_uv=False)
    assert (after <= before + 1e-5).all()
    assert after.sum() < 0.99 * before.sum()


@pytest.mark.parametrize("weights", [(0.2, 0.9, 0.5), (0.0, 0.4, -0.3)])
def test_weights_scale_what_each_source_answers(weights):
    base, sources = tensors(3, (7, 11))
    merged = merge_leaf(svc(), base, sources, weight=weights, alpha=0.2)
    vectors = [task_vector(base, source) for source in sources]
    u, _, _ = np.linalg.svd(np.sum(vectors, axis=0), full_matrices=False)
    whole = np.einsum("k,kmn->mn", weights, vectors)
    expected = np.array(base, np.float64)
    for direction in u.T:
        response = direction @ whole
        own = [direction @ one for one in vectors]
        counted = sum(max(0.2, response @ one / (one @ one)) for one in own)
        expected += np.outer(direction, 3 / counted * response)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=5e-6)


def test_other_tensors_are_added():
    base, sources = tensors(3, (7,))
    merged = merge_leaf(svc(), base, sources, weight=[0.3] * 3, alpha=0.1)
    expected = base + 0.3 * sum(source - base for source in sources)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6)
