"""CMA-ES (Hansen, 2016).

[1] The CMA Evolution Strategy: A Tutorial, https://arxiv.org/abs/1604.00772

The update is evosax's, but the eigendecomposition B D² Bᵀ = C is made only when C has changed by
enough to matter, every ⌊1 / (10 n (c₁ + c_μ))⌋ generations ([1], appendix B.2). It costs O(n³),
which at the 4,288 genes of a data-flow search would be nearly all of a generation's time. There a
factor of C is kept (`evojax_merge.strategies.factored_cma_es`).
"""

from typing import Any

import jax
import jax.numpy as jnp
from evosax.algorithms.distribution_based.cma_es import Params, eigen_decomposition

from evojax_merge.params.types import Fitness, Population, PRNGKey
from evojax_merge.strategies.factored_cma_es import FactoredCMAES

MANY = 1000
"""From so many genes on a factor is kept."""


class CMAES(FactoredCMAES):
    """CMA-ES with the eigendecomposition as seldom as the tutorial allows, or without one.

    A subclass that changes how C is updated must derive from evosax's, or set ``_factored``.
    """

    @property
    def _factored(self) -> bool:
        return self.num_dims >= MANY

    def _init(self, key: PRNGKey, params: Params) -> Any:
        init = super()._init if self._factored else super(FactoredCMAES, self)._init
        return init(key, params)

    def _ask(self, key: PRNGKey, state: Any, params: Params) -> tuple[Population, Any]:
        if self._factored:
            return super()._ask(key, state, params)
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

    def _tell(
        self, key: PRNGKey, population: Population, fitness: Fitness, state: Any, params: Params
    ) -> Any:
        tell = super()._tell if self._factored else super(FactoredCMAES, self)._tell
        return tell(key, population, fitness, state, params)
