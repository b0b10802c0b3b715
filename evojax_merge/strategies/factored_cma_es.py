"""CMA-ES with a factor of its covariance in the place of an eigendecomposition, for many genes.

[1] Hansen, The CMA Evolution Strategy: A Tutorial, 2016, https://arxiv.org/abs/1604.00772
[2] Beyer and Sendhoff, Simplify Your Covariance Matrix Adaptation Evolution Strategy, IEEE TEVC
    2017, https://doi.org/10.1109/TEVC.2017.2680320
[3] Krause, Arbonès and Igel, CMA-ES with Optimal Covariance Update and Storage Complexity, 2016,
    https://papers.nips.cc/paper/6457

A sample is y = A z with C = A Aᵀ. The update of C ([1], Eq. 47) is C' = A M Aᵀ, where

    M = a I + c₁ p pᵀ + c_μ Σ wᵢ zᵢ zᵢᵀ,    p = A⁻¹ p_c,  zᵢ = A⁻¹ yᵢ

is a multiple of the identity but in the λ + 1 directions of p and the zᵢ. Its root is made in that
subspace, and A' = A M^½ and its inverse follow in O(λ n²) operations in each generation. Nothing
is decomposed, and C is never late. Rounding in A A⁻¹ adds up (in float32 to 3e-4 in 20,000
generations with the rates of 1,000 genes) and is not mended. As in [2] and [3] the path of the step
size is kept in the coordinates of z, which turn against those of C^−½ y as A does.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from evosax.algorithms.distribution_based.cma_es import CMA_ES, Params

from evojax_merge.params.types import Array, Fitness, Float, Population, PRNGKey

SMALLEST = 0.1
"""The least eigenvalue of M, as a share of `a`, and the least `a`. Negative weights cannot take
more away, and with the default rates ([1], Eq. 52) they do not. Where a generation did, A and its
inverse would lose each other to rounding."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """The state of evosax's CMA-ES, but for the covariance.

    Attributes:
        best_solution, best_fitness, generation_counter: What all of evosax's algorithms keep.
        mean, std: The mean and the standard deviation of the distribution.
        p_std: The path of the step size.
        p_c: The path of the covariance.
        factor: The matrix A, of which A Aᵀ is the covariance.
        inverse: The inverse A⁻¹.
    """

    best_solution: Float[Array, " dims"]
    best_fitness: Any
    generation_counter: Any
    mean: Float[Array, " dims"]
    std: Float[Array, ""]
    p_std: Float[Array, " dims"]
    p_c: Float[Array, " dims"]
    factor: Float[Array, "dims dims"]
    inverse: Float[Array, "dims dims"]

    def replace(self, **changes: Any) -> "State":
        """The same state with other values, as evosax asks for it."""
        return dataclasses.replace(self, **changes)


class FactoredCMAES(CMA_ES):
    """CMA-ES whose generation costs O(λ n²); population and parameters are those of evosax's."""

    def _init(self, key: PRNGKey, params: Params) -> State:
        unknown = jnp.full((self.num_dims,), jnp.nan)
        zeros, identity = jnp.zeros(self.num_dims), jnp.eye(self.num_dims)
        return State(
            mean=unknown,
            std=params.std_init,
            p_std=zeros,
            p_c=zeros,
            factor=identity,
            inverse=identity,
            best_solution=unknown,
            best_fitness=jnp.inf,
            generation_counter=0,
        )

    def _ask(self, key: PRNGKey, state: State, params: Params) -> tuple[Population, State]:
        z = jax.random.normal(key, (self.population_size, self.num_dims))
        return state.mean + state.std * z @ state.factor.T, state

    def _tell(
        self, key: PRNGKey, population: Population, fitness: Fitness, state: State, params: Params
    ) -> State:
        mean, y, y_w = self.update_mean(population, fitness, state.mean, state.std, params)
        z = y @ state.inverse.T
        z_w = jnp.where(fitness < 0.0, 0.0, fitness) @ z
        p_std = self.update_p_std(state.p_std, z_w, params)
        norm = jnp.linalg.norm(p_std)
        h_std = self.h_std(norm, state.generation_counter + 1, params)
        p_c = self.update_p_c(state.p_c, h_std, y_w, params)
        lengths = jnp.clip(jnp.sum(jnp.square(z), axis=1), min=1e-8)
        weights = fitness * jnp.where(fitness >= 0, 1, self.num_dims / lengths)  # Eq. (46)
        negative = params.c_mu * jnp.sum(jnp.where(fitness < 0, -fitness, 0.0))
        kept = 1 + params.c_1 * self.delta_h_std(h_std, params) - params.c_1
        kept = kept - params.c_mu * jnp.sum(jnp.where(fitness < 0, 0.0, fitness))
        most = (1 - SMALLEST) * kept / (self.num_dims - (1 - SMALLEST))  # n times it is taken away
        limit = jnp.clip(most / jnp.maximum(negative, 1e-30), 0.0, 1.0)
        weights = jnp.where(fitness < 0, limit * weights, weights)
        kept = jnp.maximum(kept + limit * negative, SMALLEST)
        factor, inverse = _multiplied(
            state.factor,
            state.inverse,
            kept,
            jnp.concatenate([params.c_mu * weights, params.c_1[None]]),
            jnp.concatenate([z, (state.inverse @ p_c)[None]]),
        )
        return state.replace(
            mean=mean,
            std=self.update_std(state.std, norm, params),
            p_std=p_std,
            p_c=p_c,
            factor=factor,
            inverse=inverse,
        )


def _multiplied(
    factor: Float[Array, "dims dims"],
    inverse: Float[Array, "dims dims"],
    kept: Float[Array, ""],
    weights: Float[Array, " vectors"],
    vectors: Float[Array, "vectors dims"],
) -> tuple[Float[Array, "dims dims"], Float[Array, "dims dims"]]:
    """A M^½ and M^−½ A⁻¹ for M = kept I + Σ weightsᵢ vectorsᵢ vectorsᵢᵀ."""
    basis, coordinates = jnp.linalg.qr(vectors.T)
    # In the basis M - kept I is this small matrix; its eigenvectors are those of M.
    values, turn = jnp.linalg.eigh((coordinates * weights) @ coordinates.T)
    directions = basis @ turn
    whole = jnp.sqrt(kept)
    roots = jnp.sqrt(jnp.maximum(kept + values, SMALLEST * kept))
    longer = whole * factor + ((factor @ directions) * (roots - whole)) @ directions.T
    shorter = (1 / roots - 1 / whole)[:, None] * (directions.T @ inverse)
    return longer, inverse / whole + directions @ shorter
