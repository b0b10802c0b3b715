import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.operators import linear, task_arithmetic
from tests.operators import reference
from tests.operators.leaf import merge_leaf, tensors


@pytest.mark.parametrize("normalize", [True, False])
def test_linear_is_the_paper(normalize):
    _, sources = tensors(3)
    weights = [0.1, 0.5, 0.9]
    merged = merge_leaf(linear(normalize), None, sources, weight=weights)
    expected = reference.linear(sources, weights, normalize)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6)


def test_weights_that_sum_to_zero_are_not_divided_by():
    _, sources = tensors(2)
    assert np.isfinite(merge_leaf(linear(), None, sources, weight=[0.0, 0.0])).all()
    difference = merge_leaf(linear(), None, sources, weight=[1.0, -1.0])
    np.testing.assert_allclose(difference, sources[0] - sources[1], rtol=0, atol=1e-6)


def test_layers_have_weights_of_their_own():
    sources = (jnp.ones((2, 3)), jnp.full((2, 3), 3.0))
    merged = merge_leaf(linear(), None, sources, layered=True, weight=[[1.0, 0.0], [0.0, 2.0]])
    np.testing.assert_array_equal(merged, [[1, 1, 1], [3, 3, 3]])


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("lam", [1.0, 0.4])
def test_task_arithmetic_is_the_paper(normalize, lam):
    base, sources = tensors(3)
    weights = [0.1, 0.5, 0.9]
    merged = merge_leaf(task_arithmetic(normalize, lam), base, sources, weight=weights)
    expected = reference.task_arithmetic(base, sources, weights, lam, normalize)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6)
