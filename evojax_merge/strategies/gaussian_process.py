"""Gaussian-process regression of a fitness on genotypes, small enough for every generation.

Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006,
https://gaussianprocess.org/gpml: algorithm 2.1, eq. 5.8 (marginal likelihood) and 5.12
(leave-one-out). The kernel is Matérn 5/2 (eq. 4.17) with white noise. Length scale and noise are
the best of a grid, and the amplitude is in closed form. So there is no optimiser whose path could
depend on the machine, and nothing to keep between generations. Rows can be masked, so that a buffer
that fills up compiles once.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.params.types import Array, Bool, Float

LENGTH_SCALES = np.array([0.5, 1.0, 2.0, 4.0, 8.0], np.float32)
"""The length scales tried, in units of the root mean square distance of the data."""
NOISES = np.array([1e-4, 1e-2, 0.1, 0.5, 2.0], np.float32)
"""The variances of the noise that are tried, as shares of that of the function."""


class Posterior(NamedTuple):
    """A fitted process.

    Attributes:
        points: The data's coordinates.
        length: The length scale.
        amplitude: The variance of the function.
        cholesky: The Cholesky factor of the correlations of the data plus noise; masked rows are
            those of the identity.
        weights: The weights of the data in the predicted mean.
        mean, scale: The mean and the scale by which the data are standardised.
        agreement: The correlation of the data with what the rest of the data predicts for each.
    """

    points: Float[Array, "rows dims"]
    length: Float[Array, ""]
    amplitude: Float[Array, ""]
    cholesky: Float[Array, "rows rows"]
    weights: Float[Array, " rows"]
    mean: Float[Array, ""]
    scale: Float[Array, ""]
    agreement: Float[Array, ""]


def fit(
    points: Float[Array, "rows dims"], values: Float[Array, " rows"], mask: Bool[Array, " rows"]
) -> Posterior:
    """Fit the process that explains the data best.

    Args:
        points: Coordinates in which every direction matters about alike.
        values: The values at the points, finite where the mask is True.
        mask: Whether each row holds data.
    """
    count = jnp.maximum(mask.sum(), 1)
    mean = jnp.where(mask, values, 0).sum() / count
    centred = jnp.where(mask, values - mean, 0)
    scale = jnp.sqrt(jnp.square(centred).sum() / count)
    scale = jnp.where(scale > 0, scale, 1.0)
    y = centred / scale
    points = jnp.where(mask[:, None], points, 0)
    distances = _distances(points, points)
    both = mask[:, None] & mask[None]
    typical = jnp.sqrt(jnp.where(both, jnp.square(distances), 0).sum()) / count
    typical = jnp.where(typical > 0, typical, 1.0)

    lengths = LENGTH_SCALES * typical
    smooth = jnp.where(both, matern(distances / lengths[:, None, None]), 0)

    def correlations(within: Array, noise: Array) -> Array:
        return within + jnp.diag(jnp.where(mask, noise, 1.0))

    def surprise(within: Array, noise: Array) -> Array:
        """Minus twice the log marginal likelihood, the amplitude at its best, plus a constant."""
        factor = jnp.linalg.cholesky(correlations(within, noise))
        white = jax.scipy.linalg.solve_triangular(factor, y, lower=True)
        fitted = jnp.maximum(jnp.square(white).sum() / count, 1e-12)
        found = count * jnp.log(fitted) + 2 * jnp.log(jnp.diagonal(factor)).sum()
        return jnp.where(jnp.isfinite(found), found, jnp.inf)

    over_noises = jax.vmap(surprise, in_axes=(None, 0))
    table = jax.vmap(over_noises, in_axes=(0, None))(smooth, jnp.asarray(NOISES))
    best, which = jnp.unravel_index(jnp.argmin(table), table.shape)
    length = lengths[best]
    factor = jnp.linalg.cholesky(correlations(smooth[best], jnp.asarray(NOISES)[which]))
    weights = jax.scipy.linalg.cho_solve((factor, True), y)
    inverse = jnp.square(_solve(factor, jnp.eye(len(y)))).sum(axis=-1)  # its diagonal
    left_out = y - weights / inverse  # eq. 5.12
    return Posterior(
        points=points,
        length=length,
        amplitude=jnp.maximum(y @ weights / count, 1e-12),
        cholesky=factor,
        weights=weights,
        mean=mean,
        scale=scale,
        agreement=_correlation(left_out, y, mask),
    )


def predict(
    posterior: Posterior, points: Float[Array, "new dims"], mask: Bool[Array, " rows"]
) -> tuple[Float[Array, " new"], Float[Array, " new"]]:
    """The mean and standard deviation of the noiseless function, in the units of the data."""
    across = matern(_distances(points, posterior.points) / posterior.length)
    across = jnp.where(mask[None], across, 0)
    white = _solve(posterior.cholesky, across)
    variance = posterior.amplitude * jnp.maximum(1 - jnp.square(white).sum(axis=-1), 0)
    mean = posterior.mean + posterior.scale * (across @ posterior.weights)
    return mean, posterior.scale * jnp.sqrt(variance)


def matern(distance: Array) -> Array:
    """The correlation at a distance in length scales; it is smooth to the second derivative."""
    scaled = jnp.sqrt(5.0) * distance
    return (1 + scaled + jnp.square(scaled) / 3) * jnp.exp(-scaled)


def _solve(
    factor: Float[Array, "rows rows"], sides: Float[Array, "sides rows"]
) -> Float[Array, "sides rows"]:
    """L⁻¹ b of each b, one by one: LAPACK then starts no threads (0.3 ms, not 8, at 96 rows)."""
    factors = jnp.broadcast_to(factor, (len(sides), *factor.shape))
    return jax.vmap(lambda one, side: jax.scipy.linalg.solve_triangular(one, side, lower=True))(
        factors, sides
    )


def _distances(ones: Float[Array, "a dims"], others: Float[Array, "b dims"]) -> Float[Array, "a b"]:
    squares = jnp.square(ones[:, None] - others[None]).sum(axis=-1)
    return jnp.sqrt(jnp.maximum(squares, 0))


def _correlation(ones: Array, others: Array, mask: Array) -> Array:
    count = jnp.maximum(mask.sum(), 1)

    def centred(values: Array) -> Array:
        return jnp.where(mask, values - jnp.where(mask, values, 0).sum() / count, 0)

    a, b = centred(ones), centred(others)
    return a @ b / jnp.maximum(jnp.sqrt((a @ a) * (b @ b)), 1e-12)
