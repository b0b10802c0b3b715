"""KnOTS against the paper's formulas."""

import numpy as np
import pytest

from evojax_merge.operators import knots
from tests.operators import reference as task_vector_reference
from tests.operators import subspace_reference as reference
from tests.operators.leaf import merge_leaf, tensors

WEIGHTS, DENSITIES = [0.7, 0.2, 1.0], [0.2, 0.55, 1.0]


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (40, 10)])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("lam", [1.0, 0.6])
def test_the_paper(shape, normalize, lam):
    base, sources = tensors(3, shape)
    operator = knots(normalize=normalize, lam=lam)
    merged = merge_leaf(operator, base, sources, weight=WEIGHTS, density=DENSITIES)
    expected = reference.knots(base, sources, WEIGHTS, DENSITIES, lam, normalize)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("normalize", [True, False])
def test_without_consensus_it_is_task_arithmetic(normalize):
    base, sources = tensors(3, (12, 30))
    operator = knots(consensus="none", normalize=normalize, lam=0.6)
    assert [c.name for c in operator.coefficients] == ["weight"]
    merged = merge_leaf(operator, base, sources, weight=WEIGHTS)
    expected = task_vector_reference.task_arithmetic(base, sources, WEIGHTS, 0.6, normalize)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=2e-6)


def test_equal_sources_at_full_density_are_the_source():
    base, (source,) = tensors(1, (8, 12))
    merged = merge_leaf(knots(), base, (source,) * 3, weight=[0.5] * 3, density=[1.0] * 3)
    np.testing.assert_allclose(merged, source, rtol=0, atol=2e-6)


@pytest.mark.parametrize("normalize", [True, False])
def test_other_tensors_are_summed(normalize):
    base, sources = tensors(3, (7,))
    operator = knots(normalize=normalize)
    merged = merge_leaf(operator, base, sources, weight=WEIGHTS, density=DENSITIES)
    expected = task_vector_reference.task_arithmetic(base, sources, WEIGHTS, 1.0, normalize)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6)


def test_an_unknown_consensus_is_refused():
    with pytest.raises(ValueError, match="consensus is 'count'; use one of sum, none"):
        knots(consensus="count")
