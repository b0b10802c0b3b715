"""NSGA-II (Deb et al., 2002).

[1] A Fast and Elitist Multiobjective Genetic Algorithm, https://doi.org/10.1109/4235.996017

Departures: from the last front that survives, the most crowded are taken off one at a time
(Kukkonen & Deb, 2006; `pareto.survivors_of`), which spreads it better than all at once; a child
that crossover left equal to its parent has at least one gene mutated, so that no evaluation repeats
an earlier one; of candidates with equal objectives all but one have a crowding distance of 0; a
gene is mutated with probability 0.7/n instead of 1/n, by the comparison in
experiments/search/README.md.
"""

import dataclasses

import jax
import jax.numpy as jnp
from evosax.types import State as BaseState

from evojax_merge.params.types import Array, Float, Int, Population, PRNGKey
from evojax_merge.strategies.multi_objective import MultiObjectiveAlgorithm, Params
from evojax_merge.strategies.pareto import (
    Costs,
    crowding_distance,
    non_dominated_rank,
    survivors_of,
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State(BaseState):
    population: Population
    fitness: Costs
    rank: Int[Array, " pop"]
    crowding: Float[Array, " pop"]
    generation_counter: Int[Array, ""]


class NSGA2(MultiObjectiveAlgorithm):
    """NSGA-II: survival and binary tournaments go by front, then by crowding."""

    @property
    def _default_params(self) -> Params:
        return Params(  # [1], IV.B, but for the rate of mutation
            crossover_rate=0.9,
            crossover_eta=20.0,
            mutation_rate=0.7 / self.num_dims,
            mutation_eta=20.0,
        )

    def _init(self, key: PRNGKey, params: Params) -> State:
        return State(crowding=jnp.zeros(self.population_size), **self._placeholders())

    def _ask(self, key: PRNGKey, state: State, params: Params) -> tuple[Population, State]:
        key_tournament, key_mate = jax.random.split(key)
        one, other = self._opponents(key_tournament)
        better = (state.rank[other] < state.rank[one]) | (
            (state.rank[other] == state.rank[one]) & (state.crowding[other] > state.crowding[one])
        )
        winners = jnp.where(better, other, one)
        return self._mate(key_mate, winners.reshape(-1, 2), state, params), state

    def _tell(
        self, key: PRNGKey, population: Population, fitness: Costs, state: State, params: Params
    ) -> State:
        population = jnp.concatenate([state.population, population])
        fitness = jnp.concatenate([state.fitness, fitness])
        rank = non_dominated_rank(fitness)
        kept = survivors_of(fitness, rank, self.population_size)
        fitness, rank = fitness[kept], rank[kept]
        return state.replace(
            population=population[kept],
            fitness=fitness,
            rank=rank,
            crowding=crowding_distance(fitness, rank),
        )
