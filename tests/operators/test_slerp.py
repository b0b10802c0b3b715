import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.operators import slerp
from tests.operators import reference
from tests.operators.leaf import merge_leaf, tensors


@pytest.mark.parametrize("t", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("scale", [0.01, 0.1, 3.0])
def test_slerp_is_the_formula(t, scale):
    _, sources = tensors(2, scale=scale)
    merged = merge_leaf(slerp(), None, sources, t=t)
    np.testing.assert_allclose(merged, reference.slerp(*sources, t), rtol=0, atol=2e-6)


def test_endpoints_are_the_sources():
    _, sources = tensors(2, scale=1.0)
    for t, source in zip([0.0, 1.0], sources, strict=True):
        np.testing.assert_allclose(
            merge_leaf(slerp(), None, sources, t=t), source, rtol=0, atol=1e-6
        )


def test_unit_vectors_stay_on_the_sphere():
    merged = merge_leaf(slerp(), None, (jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])), t=0.5)
    np.testing.assert_allclose(merged, [np.sqrt(0.5)] * 2, rtol=1e-6)


def test_nearly_parallel_and_opposite_vectors_are_interpolated_linearly():
    first = jnp.array([1.0, 0.0])
    for second in (jnp.array([2.0, 0.01]), jnp.array([-1.0, 0.01])):
        merged = merge_leaf(slerp(), None, (first, second), t=0.25)
        np.testing.assert_allclose(merged, 0.75 * first + 0.25 * second, rtol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 3.0, -2.0])
def test_without_a_threshold_vectors_on_one_line_are_interpolated_linearly(factor):
    _, (first,) = tensors(1)
    merged = merge_leaf(slerp(dot_threshold=1.0), None, (first, factor * first), t=0.25)
    np.testing.assert_allclose(merged, (0.75 + 0.25 * factor) * first, rtol=0, atol=1e-5)


def test_the_threshold_is_an_argument():
    pair = (jnp.array([1.0, 0.0]), jnp.array([1.0, 1.0]))
    merged = merge_leaf(slerp(dot_threshold=0.7), None, pair, t=0.5)
    np.testing.assert_allclose(merged, [1.0, 0.5], rtol=1e-6)


def test_each_layer_has_its_own_angle_and_t():
    _, sources = tensors(2, shape=(3, 4, 5), scale=1.0)
    ts = [0.1, 0.5, 0.8]
    merged = merge_leaf(slerp(), None, sources, layered=True, t=ts)
    for layer, t in enumerate(ts):
        expected = reference.slerp(sources[0][layer], sources[1][layer], t)
        np.testing.assert_allclose(merged[layer], expected, rtol=0, atol=2e-6)
