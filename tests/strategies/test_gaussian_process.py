"""The process predicts as scikit-learn's does, and a masked row is no row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from evojax_merge.strategies.gaussian_process import NOISES, fit, predict

fit, predict = jax.jit(fit), jax.jit(predict)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(40, 3)).astype(np.float32)
    values = np.float32(np.sin(points[:, 0]) + points[:, 1] ** 2 + 0.1 * rng.normal(size=40))
    return points, 5 + 3 * values, rng.normal(size=(7, 3)).astype(np.float32)


def test_predicts_what_scikit_learn_does(data):
    points, values, new = data
    mask = np.ones(40, bool)
    found = fit(points, values, mask)
    noise = float(np.square(np.asarray(found.cholesky)).sum(-1).mean()) - 1  # of K's diagonal
    assert min(abs(np.log(noise / NOISES))) < 0.01
    amplitude = float(found.amplitude)
    kernel = ConstantKernel(amplitude) * Matern(float(found.length), nu=2.5) + WhiteKernel(
        noise * amplitude
    )
    reference = GaussianProcessRegressor(kernel, optimizer=None)
    reference.fit(points, (values - values.mean()) / values.std())
    mean, deviation = reference.predict(new, return_std=True)
    deviation = np.sqrt(deviation**2 - noise * amplitude)  # of the function, without the noise
    own_mean, own_deviation = predict(found, new, mask)
    np.testing.assert_allclose(own_mean, values.mean() + values.std() * mean, rtol=1e-3)
    np.testing.assert_allclose(own_deviation, values.std() * deviation, rtol=1e-2)


def test_what_is_left_out_is_predicted_from_the_rest(data):
    points, values, _ = data
    found = fit(points, values, np.ones(40, bool))
    assert 0.8 < float(found.agreement) < 1
    shuffled = np.random.default_rng(1).permutation(values)
    assert float(fit(points, shuffled, np.ones(40, bool)).agreement) < 0.5


def test_masked_rows_change_nothing(data):
    points, values, new = data
    mask = np.arange(48) < 40
    padded = np.concatenate([points, np.full((8, 3), np.nan, np.float32)])
    one = fit(points, values, np.ones(40, bool))
    other = fit(padded, np.concatenate([values, np.full(8, np.nan, np.float32)]), mask)
    means = predict(one, new, np.ones(40, bool))[0], predict(other, new, mask)[0]
    np.testing.assert_allclose(*means, atol=0.01 * values.std())  # float32, nearly singular


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_no_data_or_constant_data_is_no_error(rows):
    mask = np.arange(5) < rows
    found = fit(jnp.ones((5, 2)), jnp.full(5, 0.25), mask)
    mean, deviation = predict(found, jnp.zeros((3, 2)), mask)
    assert np.isfinite(mean).all()
    assert np.isfinite(deviation).all()
    assert float(found.agreement) == 0
