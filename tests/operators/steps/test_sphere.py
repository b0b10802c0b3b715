import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evojax_merge.operators.statistics import geometry
from evojax_merge.operators.steps.sphere import angle, apart_from, over_sine, unit


@pytest.mark.parametrize("theta", [0.0, 1e-6, 1e-3, 1.0, 3.0, np.pi])
def test_angles_keep_their_digits(theta):
    apart = np.float32(2 * np.sin(theta / 2) ** 2)
    np.testing.assert_allclose(angle(jnp.asarray(apart)), theta, rtol=1e-6, atol=1e-30)
    assert np.isfinite(jax.grad(lambda x: over_sine(angle(x)))(jnp.float32(0.0)))


@settings(max_examples=20, deadline=None)
@given(scale=st.sampled_from([1e-4, 1e-2, 1.0]), seed=st.integers(0, 50))
def test_a_unit_combination_is_as_far_from_each_direction_as_its_vector(scale, seed):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal(20) + scale * rng.standard_normal((3, 20))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    c = rng.uniform(0.1, 1, 3)
    point = c @ units
    point /= np.linalg.norm(point)
    found = geometry(None, [jnp.asarray(u, jnp.float32) for u in vectors], False)
    apart = found.apart[..., 0]
    mean, _ = unit(jnp.asarray(c, jnp.float32), apart)
    # 1 - cos from the difference of the vectors, which does not cancel.
    exact = 0.5 * np.square(units - point).sum(axis=1)
    np.testing.assert_allclose(apart_from(mean, apart), exact, rtol=2e-4, atol=1e-12)
