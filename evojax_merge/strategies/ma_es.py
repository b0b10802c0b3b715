"""Matrix Adaptation Evolution Strategies (Beyer & Sendhoff, 2017; Loshchilov et al., 2017).

[1] https://ieeexplore.ieee.org/document/7875115
[2] https://arxiv.org/abs/1705.06693

Both average z over candidates with recombination weights by rank. evosax 0.3.2 pairs the weights
with the candidates in the order they were drawn, so that the matrix adapts to chance; here the
candidates are put in the order of their rank first.
"""

import dataclasses

import jax.numpy as jnp
from evosax.algorithms.distribution_based.lm_ma_es import LM_MA_ES
from evosax.algorithms.distribution_based.lm_ma_es import Params as LMParams
from evosax.algorithms.distribution_based.ma_es import MA_ES, Params, State

from evojax_merge.params.types import Fitness, Population, PRNGKey


class MAES(MA_ES):
    """MA-ES whose weights are paired with ranks (Eq. M11 of [1])."""

    def _tell(
        self, key: PRNGKey, population: Population, fitness: Fitness, state: State, params: Params
    ) -> State:
        # The fitness is already a weight here: the best candidate has the largest.
        order = jnp.argsort(-fitness)
        ranked = state.replace(z=state.z[order])
        return super()._tell(key, population[order], fitness[order], ranked, params)


class LMMAES(MAES, LM_MA_ES):
    """LM-MA-ES whose weights are paired with ranks.

    The learning rates c_c,i = λ / (4^i n) of [2] are meant for n ≫ λ and are capped at 1 here:
    above 2 they would take the root of a negative number.
    """

    @property
    def _default_params(self) -> LMParams:
        params = super()._default_params
        return dataclasses.replace(params, c_c=jnp.minimum(params.c_c, 1.0))
