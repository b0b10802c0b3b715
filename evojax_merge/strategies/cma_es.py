"""CMA-ES (Hansen, 2016).

[1] The CMA Evolution Strategy: A Tutorial, https://arxiv.org/abs/1604.00772

evosax's update with the eigendecomposition B D² Bᵀ = C made only when C has changed by enough
to matter, every ⌊1 / (10 n (c₁ + c_μ))⌋ generations ([1], appendix B.2). It costs O(n³): at the
4,288 genes of a data-flow search it is nearly all of a generation's time.
"""

import jax
import jax.numpy as jnp
from evosax.algorithms.distribution_based.cma_es import CMA_ES, Params, State, eigen_decomposition

from evojax_merge.types import Population, PRNGKey


class CMAES(CMA_ES):
    """CMA-ES with the eigendecomposition as seldom as the tutorial allows."""

    def _ask(self, key: PRNGKey, state: State, params: Params) -> tuple[Population, State]:
        period = jnp.floor(1 / (10 * self.num_dims * (params.c_1 + params.c_mu)))
        generation = state.generation_counter
        # C starts as the identity, decomposed already.
        due = (generation > 0) & (generation % jnp.maximum(period, 1).astype(jnp.int32) == 0)
        C, B, D = jax.lax.cond(  # noqa: N806
            due, lambda: eigen_decomposition(state.C), lambda: (state.C, state.B, state.D)
        )
        z = jax.random.normal(key, (self.population_size, self.num_dims))  # Eq. (38)
        y = (z * D) @ B.T  # Eq. (39)
        return state.mean + state.std * y, state.replace(C=C, B=B, D=D)  # Eq. (40)
