"""Injecting external solutions into CMA-ES (Hansen, 2011), https://arxiv.org/abs/1110.4181"""

from typing import Any

import jax.numpy as jnp

from evojax_merge.types import Array, Float


def limit_step(algorithm: Any, sample: Float[Array, "dims"]) -> Float[Array, "dims"]:
    """A solution from elsewhere, no further from the mean than the distribution makes likely.

    The step from the mean m is shortened where its Mahalanobis length exceeds a bound:

        m + min(1, c / |C^(−1/2) (x − m) / σ|) · (x − m),   c = √n + 2n / (n + 2)

    (eq. 3 and table 1; the paper's further bound on the mean's own step is for several injected
    solutions and is left out). Algorithms other than CMA-ES adapt no covariance that a far step
    would spoil, and get the solution as it is.

    Args:
        algorithm: State of an evosax algorithm.
        sample: The solution, in the algorithm's coordinates.
    """
    if not all(hasattr(algorithm, name) for name in ("mean", "std", "B", "D")):
        return sample
    step = sample - algorithm.mean
    length = jnp.linalg.norm(algorithm.B.T @ step / (algorithm.D * algorithm.std))
    dims = sample.size
    bound = jnp.sqrt(dims) + 2 * dims / (dims + 2)
    return algorithm.mean + jnp.minimum(1.0, bound / jnp.maximum(length, 1e-20)) * step
