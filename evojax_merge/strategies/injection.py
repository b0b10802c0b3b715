"""Injecting external solutions into CMA-ES (Hansen, 2011), https://arxiv.org/abs/1110.4181"""

from typing import Any

import jax.numpy as jnp

from evojax_merge.params.types import Array, Float


def limit_step(algorithm: Any, sample: Float[Array, " dims"]) -> Float[Array, " dims"]:
    """Bring a solution from elsewhere as near to the mean as the distribution makes likely.

    The step from the mean m is shortened where its Mahalanobis length exceeds a bound:

        m + min(1, c / |C^(−1/2) (x − m) / σ|) · (x − m),   c = √n + 2n / (n + 2)

    (eq. 3 and table 1; the paper's further bound on the mean's own step is for several injected
    solutions and is left out). Algorithms other than CMA-ES adapt no covariance that a far step
    would spoil, and get the solution as it is.

    Args:
        algorithm: The state of an evosax algorithm.
        sample: The solution, in the algorithm's coordinates.
    """
    white = _whitened(algorithm, sample)
    if white is None:
        return sample
    length = jnp.linalg.norm(white)
    dims = sample.size
    bound = jnp.sqrt(dims) + 2 * dims / (dims + 2)
    shorter = jnp.minimum(1.0, bound / jnp.maximum(length, 1e-20))
    return algorithm.mean + shorter * (sample - algorithm.mean)


def _whitened(algorithm: Any, sample: Float[Array, " dims"]) -> Float[Array, " dims"] | None:
    """The step to a solution in standard deviations, in a frame of the covariance."""

    def has(*names: str) -> bool:
        return all(hasattr(algorithm, name) for name in ("mean", "std", *names))

    if has("factor", "inverse"):
        return algorithm.inverse @ ((sample - algorithm.mean) / algorithm.std)
    if has("B", "D"):
        return algorithm.B.T @ (sample - algorithm.mean) / (algorithm.D * algorithm.std)
    return None
