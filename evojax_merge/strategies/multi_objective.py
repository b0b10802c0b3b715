"""Search for several objectives at once: evosax's base class for it, and a strategy in the box."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from evosax.algorithms.population_based.base import Params as BaseParams
from evosax.algorithms.population_based.base import PopulationBasedAlgorithm
from evosax.types import State as BaseState
from jaxtyping import Array, Float, Int

from evojax_merge.documents.arguments import check_population_size
from evojax_merge.params.types import Genotype, Population, PRNGKey
from evojax_merge.strategies.arguments import make_params, resolve
from evojax_merge.strategies.base import Strategy
from evojax_merge.strategies.pareto import Costs, finite_costs
from evojax_merge.strategies.setting import Setting
from evojax_merge.strategies.variation import polynomial_mutation, simulated_binary_crossover

DEFAULT_POPULATION = 40
"""How many candidates a generation has; the papers' 92 to 100 are for tens of thousands of
evaluations."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Params(BaseParams):
    crossover_rate: float  # of a pair of parents
    crossover_eta: float  # distribution index: the larger, the closer to the parents
    mutation_rate: float  # of a gene
    mutation_eta: float


class MultiObjectiveAlgorithm(PopulationBasedAlgorithm):
    """evosax's base class where a fitness is a row of costs, all minimised.

    The base class keeps the best candidate. For several objectives there is none, so that ``init``
    and ``tell`` leave that out. A cost that is not finite ranks last.
    """

    def __init__(
        self,
        population_size: int,
        solution: Genotype,
        lower: Genotype,
        upper: Genotype,
        num_objectives: int,
    ) -> None:
        super().__init__(population_size, solution)
        self.lower, self.upper = lower, upper
        self.num_objectives = num_objectives

    @functools.partial(jax.jit, static_argnames=("self",))
    def init(self, key: PRNGKey, population: Population, fitness: Costs, params: Params) -> Any:
        """The state that a first population and its costs make."""
        empty = self._init(key, params).replace(population=population)
        return self.tell(key, population, fitness, empty, params)[0]

    @functools.partial(jax.jit, static_argnames=("self",))
    def tell(
        self, key: PRNGKey, population: Population, fitness: Costs, state: Any, params: Params
    ) -> tuple[Any, dict]:
        """The state with the survivors of the parents and the population told."""
        state = self._tell(key, population, fitness, state, params)
        return state.replace(generation_counter=state.generation_counter + 1), {}

    def _placeholders(self) -> dict[str, Array]:
        """The fields that every state has before the first population."""
        return {
            "population": jnp.zeros((self.population_size, self.num_dims)),
            "fitness": jnp.full((self.population_size, self.num_objectives), jnp.inf, jnp.float32),
            "rank": jnp.zeros(self.population_size, jnp.int32),
            "generation_counter": jnp.int32(0),
        }

    def _opponents(self, key: PRNGKey) -> tuple[Int[Array, " parents"], Int[Array, " parents"]]:
        """Who meets whom in the binary tournaments for the two parents of each pair of children.

        Every member stands in as many tournaments as any other, but for the remainder.
        """
        parents = 2 * -(-self.population_size // 2)
        rounds = -(-2 * parents // self.population_size)
        draw = jax.vmap(lambda key: jax.random.permutation(key, self.population_size))
        drawn = draw(jax.random.split(key, rounds)).reshape(-1)
        return drawn[:parents], drawn[parents : 2 * parents]

    def _mate(
        self, key: PRNGKey, parents: Int[Array, "pairs 2"], state: Any, params: Params
    ) -> Population:
        """Two children of each pair, as many as the population has members."""
        key_cross, key_mutate = jax.random.split(key)
        one, other = state.population[parents[:, 0]], state.population[parents[:, 1]]
        first, second = simulated_binary_crossover(
            key_cross,
            one,
            other,
            self.lower,
            self.upper,
            params.crossover_rate,
            params.crossover_eta,
        )
        children = jnp.concatenate([first, second])[: self.population_size]
        unchanged = (children == jnp.concatenate([one, other])[: self.population_size]).all(axis=1)
        return polynomial_mutation(
            key_mutate,
            children,
            self.lower,
            self.upper,
            params.mutation_rate,
            params.mutation_eta,
            unchanged,
        )


class State(NamedTuple):
    """The state of a search; structure, shapes and dtypes never change after ``init``."""

    algorithm: BaseState


class MultiObjectiveStrategy(Strategy):
    """A multi-objective algorithm searching a box; ``told`` are rows of objectives, maximised.

    A candidate of which one objective is not finite ranks below all others, and a generation of
    such candidates leaves the state as it was. An objective that is the same for all decides
    nothing and harms nothing.

    Args:
        setting: The search that the strategy is for. Its start is the first candidate, and all of
            its objectives, at least two, are maximised.
        algorithm: `NSGA2`, `NSGA3`, or a partial of one that carries constructor options.
        population_size: How many candidates a generation has; None for `DEFAULT_POPULATION`.
        sigma: The standard deviation of a ``normal`` first generation, a share of each gene's span.
        initial_population: The first generation beside the start: ``uniform`` in the box (the
            papers'), or ``normal`` around the start.
        strategy_params: The algorithm's own parameters by name.

    Raises:
        ValueError: There are fewer than two objectives, an option or parameter is unknown, the
            algorithm cannot use the population, or ``make_box`` refuses the box.
    """

    hears = "objectives"
    uses_span = True

    def __init__(
        self,
        setting: Setting,
        algorithm: Callable[..., MultiObjectiveAlgorithm],
        *,
        population_size: int | None = None,
        sigma: float = 1 / 6,
        initial_population: Literal["normal", "uniform"] = "uniform",
        strategy_params: Mapping[str, Any] | None = None,
    ) -> None:
        self.box = setting.box(sigma)
        self.dims = self.box.start.size
        class_, options = resolve(algorithm)
        name = class_.__name__
        if not issubclass(class_, MultiObjectiveAlgorithm):
            raise ValueError(f"{name} searches for one objective; use NSGA2 or NSGA3")
        self.objectives = tuple(setting.objectives)
        if len(self.objectives) < 2:
            given = ", ".join(self.objectives) or "none"
            raise ValueError(
                f"{name} trades objectives for each other and needs at least two fitness tasks "
                f"(given: {given}); for one, use strategy=cma_es"
            )
        if initial_population not in ("normal", "uniform"):
            raise ValueError(
                f"initial_population must be normal or uniform, not {initial_population!r}"
            )
        self._initial_population = initial_population
        size = DEFAULT_POPULATION if population_size is None else population_size
        self.population_size = check_population_size(size, 4)
        self.algorithm = class_(
            population_size=self.population_size,
            solution=jnp.zeros(self.dims),
            lower=self.box.lower,
            upper=self.box.upper,
            num_objectives=len(self.objectives),
            **options,
        )
        self._params = make_params(self.algorithm, strategy_params or {})
        self._ask_jit = jax.jit(self._ask)
        self._tell_jit = jax.jit(self._tell)

    def init(self, key: PRNGKey) -> State:
        """Return the state before the first generation."""
        return State(self.algorithm._init(key, self._params))

    def ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        """Return one generation of genotypes, inside the bounds."""
        return self._ask_jit(key, state), state

    def tell(
        self, key: PRNGKey, population: Population, told: Float[Array, "pop tasks"], state: State
    ) -> State:
        """Return the state after a generation was scored.

        Args:
            told: An objective in each column, all of which are maximised.

        Raises:
            ValueError: There are more or fewer objectives than the strategy was made for.
        """
        if told.shape != (self.population_size, len(self.objectives)):
            raise ValueError(
                f"told must have a row for each of {self.population_size} candidates and a column "
                f"for each of {', '.join(self.objectives)}; its shape is {told.shape}"
            )
        return self._tell_jit(key, population, told, state)

    def front(
        self, state: State
    ) -> tuple[Float[np.ndarray, "members dims"], Float[np.ndarray, "members tasks"]]:
        """Return genotypes and objectives that no member dominates, each once."""
        algorithm: Any = state.algorithm
        costs = np.asarray(algorithm.fitness)
        kept = (np.asarray(algorithm.rank) == 0) & np.isfinite(costs).all(axis=1)
        genotypes, first = np.unique(
            np.asarray(algorithm.population)[kept], axis=0, return_index=True
        )
        return genotypes, -costs[kept][first]

    def _first_population(self, key: PRNGKey) -> Population:
        shape = (self.population_size, self.dims)
        if self._initial_population == "uniform":
            drawn = jax.random.uniform(key, shape, minval=self.box.lower, maxval=self.box.upper)
        else:
            drawn = self.box.genotype(jax.random.normal(key, shape))
        return drawn.at[0].set(self.box.start)

    def _ask(self, key: PRNGKey, state: State) -> Population:
        algorithm: Any = state.algorithm
        return jax.lax.cond(
            algorithm.generation_counter == 0,
            lambda: self._first_population(key),
            lambda: self.algorithm.ask(key, algorithm, self._params)[0],
        )

    def _tell(
        self, key: PRNGKey, population: Population, told: Float[Array, "pop tasks"], state: State
    ) -> State:
        costs = finite_costs(told)
        algorithm: Any = state.algorithm

        def learn() -> State:
            first = algorithm.generation_counter == 0
            # Before the first generation there are no parents: its members stand in for them.
            parents = jnp.where(first, population, algorithm.population)
            before = algorithm.replace(population=parents)
            return State(self.algorithm.tell(key, population, costs, before, self._params)[0])

        return jax.lax.cond(jnp.isfinite(costs).any(), learn, lambda: state)
