"""Memetic search, which is evolution whose candidates also learn.

The source is Moscato, On evolution, search, optimization, genetic algorithms and martial arts:
towards memetic algorithms, Caltech Concurrent Computation Program report 826, 1989. What was learnt
is inherited (Lamarckian): the strategy is told it as if it had proposed it, as in Hansen, Injecting
external solutions into CMA-ES, arXiv 1110.4181.
"""

import copy
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import check_whole
from evojax_merge.gradient.descent import Descent
from evojax_merge.gradient.objective import Descendable
from evojax_merge.params.types import Array, Fitness, Float, Genotype, Int, Population, PRNGKey
from evojax_merge.strategies.base import Strategy
from evojax_merge.strategies.factory import make_inner
from evojax_merge.strategies.setting import Setting


class State(NamedTuple):
    """The state of a memetic search.

    Attributes:
        inner: The state of the strategy inside.
        start: The genotype where that strategy begins: the start of the space, or after
            ``start_steps`` steps where they led.
        elite: The best genotype told so far, from which the next descent begins.
        fitness: The fitness of the elite.
        generation: The number of generations told.
        spent: How many evaluations of an item the gradients so far count as.
    """

    inner: Any
    start: Genotype
    elite: Genotype
    fitness: Float[Array, ""]
    generation: Int[Array, ""]
    spent: Int[Array, ""]


class Memetic(Strategy):
    """A strategy that begins where a descent ends, and learns from descents on its way.

    Before the first generation the start is moved by ``start_steps`` steps of Adam. Every so many
    generations, ``local_steps`` more lead away from the best genotype so far. The genotype where
    they end takes the place of the last candidate proposed. Which one that is depends on nothing,
    so the others remain a fair sample. CMA-ES is told of no step longer than its distribution makes
    likely (see `EvosaxStrategy.inject`). The end of the first descent is itself a candidate of the
    first generation.

    Args:
        setting: The search that the strategy is for.
        inner: The function that makes the strategy inside from a setting.
        start_steps: The steps of the first descent; with 0 there is none.
        local_steps: The steps of each later descent; with 0 there are none.
        every: The number of generations from one later descent to the next.
        objective, learning_rate, batch_size, diversity: The arguments of `Descent`.

    Raises:
        ValueError: A number of steps is negative, ``every`` is below 1, the strategy inside
            cannot be told of others' candidates, or `Descent` refuses its arguments.
    """

    uses_span = True
    follows_gradients = True

    def __init__(
        self,
        setting: Setting,
        inner: Callable[..., Any],
        *,
        start_steps: int = 30,
        local_steps: int = 5,
        every: int = 2,
        objective: str = "likelihood",
        learning_rate: float = 0.05,
        batch_size: int = 16,
        diversity: float = 1.0,
    ) -> None:
        check_whole("strategy.start_steps", start_steps, 0)
        check_whole("strategy.local_steps", local_steps, 0)
        check_whole("strategy.every", every, 1)
        self._descent = Descent(
            setting.lower, setting.upper, objective, learning_rate, batch_size, diversity
        )
        self._setting, self._make = setting, functools.partial(make_inner, "memetic", inner)
        self._start = np.asarray(setting.box(1.0).start)
        self._began: dict[bytes, Strategy] = {}
        strategy = self._inner(self._start)
        if not strategy.injectable:
            raise ValueError(
                f"strategy.inner is a {strategy.name}, which cannot be told of what a "
                "descent found; use one of evosax's, e.g. strategy@strategy.inner=cma_es"
            )
        self._start_steps, self._local_steps, self._every = start_steps, local_steps, every
        self.population_size = strategy.population_size
        self.dims = strategy.dims

    def check(self, task: Any) -> None:
        """Raise ValueError if the objective cannot be measured on a bound task."""
        self._descent.check(task)

    def bind(self, space: Descendable) -> Self:
        """The same strategy in a space."""
        bound = copy.copy(self)
        bound._descent = self._descent.bind(space)
        return bound

    def spent(self, state: State) -> int:
        """How many evaluations of an item the gradients so far count as."""
        return int(state.spent)

    def init(self, key: PRNGKey) -> State:
        """The state before the first generation."""
        start = jnp.asarray(self._start)
        return State(
            inner=self._inner(start).init(key),
            start=start,
            elite=start,
            fitness=jnp.float32(-jnp.inf),
            generation=jnp.int32(0),
            spent=jnp.int32(0),
        )

    def ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        """A generation of the strategy inside, with perhaps one candidate from a descent."""
        key_begin, key_inner, key_descent = jax.random.split(key, 3)
        generation = int(state.generation)
        if generation == 0 and self._start_steps:
            state = self._begin(key_begin, state)
        inner = self._inner(state.start)
        population, asked = inner.ask(key_inner, state.inner)
        found = None
        if generation == 0 and self._start_steps:
            found = state.start
        elif generation and self._local_steps and generation % self._every == 0:
            descent = self._descent.init(state.elite)
            descent = self._descent.run(key_descent, descent, self._local_steps)
            found = descent.genotype
            state = state._replace(spent=state.spent + descent.spent)
        if found is not None:
            population, asked = inner.inject(found, population, asked)
        return population, state._replace(inner=asked)

    def tell(self, key: PRNGKey, population: Population, fitness: Fitness, state: State) -> State:
        """The state after a generation was scored."""
        inner = self._inner(state.start).tell(key, population, fitness, state.inner)
        scores = jnp.where(jnp.isfinite(fitness), fitness, -jnp.inf).astype(jnp.float32)
        best = jnp.argmax(scores)
        better = scores[best] > state.fitness
        return State(
            inner=inner,
            start=state.start,
            elite=jnp.where(better, population[best], state.elite),
            fitness=jnp.where(better, scores[best], state.fitness),
            generation=state.generation + 1,
            spent=state.spent,
        )

    def recommend(self, state: State) -> Genotype | None:
        """What the strategy inside recommends."""
        return self._inner(state.start).recommend(state.inner)

    def _begin(self, key: PRNGKey, state: State) -> State:
        """Descend from the start, and begin the strategy inside from there."""
        key_descent, key_inner = jax.random.split(key)
        descent = self._descent.run(key_descent, self._descent.init(state.start), self._start_steps)
        return state._replace(
            inner=self._inner(descent.genotype).init(key_inner),
            start=descent.genotype,
            elite=descent.genotype,
            spent=state.spent + descent.spent,
        )

    def _inner(self, start: Any) -> Strategy:
        """The strategy inside, beginning from the start that the state holds."""
        at = np.asarray(start, np.float32)
        if at.tobytes() not in self._began:
            self._began[at.tobytes()] = self._make(dataclasses.replace(self._setting, start=at))
        return self._began[at.tobytes()]
