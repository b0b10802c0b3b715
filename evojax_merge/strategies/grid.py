"""Grid search: every combination of a few values of each gene, whatever their fitness.

This is what a careful person does by hand, and what every search has to be better than.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from evojax_merge.documents.arguments import check_population_size, check_whole
from evojax_merge.params.types import Fitness, Population, PRNGKey
from evojax_merge.strategies.base import Strategy, default_population_size
from evojax_merge.strategies.setting import Setting


class State(NamedTuple):
    """How many combinations were asked so far."""

    asked: Int[Array, ""]


class GridSearch(Strategy):
    """A search that asks all combinations in order, the last gene fastest.

    What the budget leaves is drawn uniformly.

    Args:
        setting: The search that the strategy is for; both bounds of a gene are on the grid, and the
            start is not used.
        evaluations: How many candidates the search may have.
        points: How many values each gene has; None for as many as the evaluations allow.
        population_size: How many candidates a generation has; None for 4 + ⌊3 ln dims⌋.

    Raises:
        ValueError: There are more combinations than evaluations, or a number is no such number.
    """

    def __init__(
        self,
        setting: Setting,
        *,
        evaluations: int,
        points: int | None = None,
        population_size: int | None = None,
    ) -> None:
        self.box = setting.box(1.0)
        self.dims = self.box.start.size
        size = default_population_size(self.dims) if population_size is None else population_size
        self.population_size = check_population_size(size, 1)
        self.points = _points(self.dims, check_whole("search.evaluations", evaluations, 1), points)
        self.combinations = self.points**self.dims
        self._ask_jit = jax.jit(self._ask)

    def init(self, key: PRNGKey) -> State:
        """Return the state before the first generation."""
        return State(jnp.int32(0))

    def ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        """Return the next combinations."""
        return self._ask_jit(key, state)

    def tell(self, key: PRNGKey, population: Population, fitness: Fitness, state: State) -> State:
        """Return the state as it is: a grid learns nothing."""
        return state

    def _ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        number = state.asked + jnp.arange(self.population_size)
        inside = number < self.combinations
        strides = np.array([self.points**n for n in reversed(range(self.dims))], np.int32)
        digits = jnp.where(inside, number, 0)[:, None] // strides % self.points
        share = jnp.where(
            inside[:, None],
            digits / (self.points - 1),
            jax.random.uniform(key, (self.population_size, self.dims)),
        )
        lower, upper = self.box.lower, self.box.upper
        # Exact at both ends, where lower + (upper − lower) need not be upper in float32.
        population = jnp.where(share == 1, upper, lower + share * (upper - lower))
        asked = jnp.minimum(state.asked + self.population_size, self.combinations)
        return population, State(asked.astype(jnp.int32))


def _points(dims: int, evaluations: int, points: int | None) -> int:
    """How many values each gene has: the given number, or the most there are evaluations for."""
    if points is not None:
        check_whole("strategy.points", points, 2)
    else:
        points = 2
        while (points + 1) ** dims <= evaluations:
            points += 1
    if points**dims > evaluations:
        raise ValueError(
            f"a grid of {points} points for each of {dims} genes has {points}^{dims} combinations, "
            f"more than the {evaluations} evaluations of the "
            "search; evolve fewer genes, allow more evaluations or use another strategy"
        )
    return points
