"""Exponential Natural Evolution Strategy (Wierstra et al., 2014).

[1] Natural Evolution Strategies, https://www.jmlr.org/papers/volume15/wierstra14a/wierstra14a.pdf

evosax 0.3.2 takes the exponential of the matrix gradient element by element, under which a B that
starts as the identity stays diagonal; here it is the matrix exponential of algorithm 5 of [1].
"""

import jax
import jax.numpy as jnp
import optax
from evosax.algorithms.distribution_based.xnes import Params, State, xNES

from evojax_merge.params.types import Fitness, Population, PRNGKey


class XNES(xNES):
    """xNES with the matrix exponential."""

    def _ask(self, key: PRNGKey, state: State, params: Params) -> tuple[Population, State]:
        z = jax.random.normal(key, (self.population_size, self.num_dims))
        return state.mean + state.std * z @ state.B.T, state.replace(z=z)

    def _tell(
        self, key: PRNGKey, population: Population, fitness: Fitness, state: State, params: Params
    ) -> State:
        identity = jnp.eye(self.num_dims)
        grad_mean = state.std * state.B @ (fitness @ state.z)  # σ B ∇_δ
        grad_m = state.z.T @ (fitness[:, None] * state.z) - jnp.sum(fitness) * identity  # ∇_M
        grad_std = jnp.trace(grad_m) / self.num_dims  # ∇_σ
        grad_b = grad_m - grad_std * identity  # ∇_B

        # optax descends, the gradients ascend.
        updates, opt_state = self.optimizer.update(-grad_mean, state.opt_state, state.mean)
        return state.replace(
            mean=optax.apply_updates(state.mean, updates),
            std=state.std * jnp.exp(0.5 * state.lr_std * grad_std),
            B=state.B @ jax.scipy.linalg.expm(0.5 * params.lr_B * grad_b),
            opt_state=opt_state,
        )
