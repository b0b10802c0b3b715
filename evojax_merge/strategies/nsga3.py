"""NSGA-III (Deb & Jain, 2014).

[1] An Evolutionary Many-Objective Optimization Algorithm Using Reference-Point-Based Nondominated
    Sorting Approach, Part I, https://doi.org/10.1109/TEVC.2013.2281535
[2] Seada & Deb, A Unified Evolutionary Optimization Procedure for Single, Multiple, and Many
    Objectives (U-NSGA-III), 2016, https://doi.org/10.1109/TEVC.2015.2459718

Departures: parents are chosen by the binary tournaments of [2], where members of one niche win by
front, then by the distance from its direction; extreme points are sought among the first front and
those found before, and an intercept that no cost has reached is the worst cost seen (both as in
pymoo); where the hyperplane cannot be used, the worst of the first front takes its place. A child
that crossover left equal to its parent has at least one gene mutated; a gene is mutated with
probability 0.7/n instead of 1/n, by the comparison in experiments/search/README.md.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from evosax.types import State as BaseState

from evojax_merge.documents.arguments import check_whole
from evojax_merge.params.types import Array, Float, Genotype, Int, Population, PRNGKey
from evojax_merge.strategies.multi_objective import MultiObjectiveAlgorithm, Params
from evojax_merge.strategies.niching import associate, nadir_point, niche, update_extremes
from evojax_merge.strategies.pareto import Costs, das_dennis, non_dominated_rank


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State(BaseState):
    population: Population
    fitness: Costs
    rank: Int[Array, " pop"]
    niche: Int[Array, " pop"]
    distance: Float[Array, " pop"]
    ideal: Float[Array, " objectives"]
    worst: Float[Array, " objectives"]
    extremes: Float[Array, "objectives objectives"]
    generation_counter: Int[Array, ""]


class NSGA3(MultiObjectiveAlgorithm):
    """NSGA-III: survival goes by front, then by the niche of a reference direction.

    Args:
        partitions: How many parts the reference directions divide each axis into (Das & Dennis);
            None for as many as give no more directions than the population has members.

    Raises:
        ValueError: There are more directions than members, or ``partitions`` is no such number.
    """

    def __init__(
        self,
        population_size: int,
        solution: Genotype,
        lower: Genotype,
        upper: Genotype,
        num_objectives: int,
        partitions: int | None = None,
    ) -> None:
        super().__init__(population_size, solution, lower, upper, num_objectives)
        if partitions is None:
            partitions = 1
            while _directions(num_objectives, partitions + 1) <= population_size:
                partitions += 1
        check_whole("strategy.partitions", partitions, 1)
        count = _directions(num_objectives, partitions)
        if count > population_size:
            raise ValueError(
                f"NSGA3 has {count} reference directions for {num_objectives} objectives and "
                f"{partitions} partitions, and a population of only {population_size}; give "
                "fewer partitions or a population_size of at least that"
            )
        self.directions = jnp.asarray(das_dennis(num_objectives, partitions))

    @property
    def _default_params(self) -> Params:
        return Params(  # [1], table II, but for the rate of mutation
            crossover_rate=1.0,
            crossover_eta=30.0,
            mutation_rate=0.7 / self.num_dims,
            mutation_eta=20.0,
        )

    def _init(self, key: PRNGKey, params: Params) -> State:
        return State(
            niche=jnp.zeros(self.population_size, jnp.int32),
            distance=jnp.zeros(self.population_size),
            ideal=jnp.full(self.num_objectives, jnp.inf, jnp.float32),
            worst=jnp.full(self.num_objectives, -jnp.inf, jnp.float32),
            extremes=jnp.full((self.num_objectives, self.num_objectives), jnp.inf, jnp.float32),
            **self._placeholders(),
        )

    def _ask(self, key: PRNGKey, state: State, params: Params) -> tuple[Population, State]:
        key_tournament, key_coin, key_mate = jax.random.split(key, 3)
        one, other = self._opponents(key_tournament)
        better = (state.rank[other] < state.rank[one]) | (
            (state.rank[other] == state.rank[one]) & (state.distance[other] < state.distance[one])
        )
        rivals = state.niche[one] == state.niche[other]
        either = jax.random.bernoulli(key_coin, 0.5, one.shape)
        winners = jnp.where(jnp.where(rivals, better, either), other, one)
        return self._mate(key_mate, winners.reshape(-1, 2), state, params), state

    def _tell(
        self, key: PRNGKey, population: Population, fitness: Costs, state: State, params: Params
    ) -> State:
        population = jnp.concatenate([state.population, population])
        fitness = jnp.concatenate([state.fitness, fitness])
        rank = non_dominated_rank(fitness)
        sound = jnp.isfinite(fitness).all(axis=1)
        ideal = jnp.minimum(state.ideal, fitness.min(axis=0))
        found = jnp.max(jnp.where(sound[:, None], fitness, -jnp.inf), axis=0)
        worst = jnp.maximum(state.worst, found)
        first = sound & (rank == 0)
        extremes = update_extremes(fitness, first, ideal, state.extremes)
        nadir = nadir_point(fitness, first, sound, ideal, worst, extremes)

        nearest, distance = associate(fitness, ideal, nadir, self.directions)
        kept = niche(key, rank, nearest, distance, len(self.directions), self.population_size)
        return state.replace(
            population=population[kept],
            fitness=fitness[kept],
            rank=rank[kept],
            niche=nearest[kept],
            distance=distance[kept],
            ideal=ideal,
            worst=worst,
            extremes=extremes,
        )


def _directions(objectives: int, partitions: int) -> int:
    return math.comb(partitions + objectives - 1, objectives - 1)
