"""The frame of strategies with an archive: founders first, then children of its members."""

import abc
import copy
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import MOST_CANDIDATES, check_population_size, check_whole
from evojax_merge.params.types import Array, Bool, Float, Int, Population, PRNGKey
from evojax_merge.strategies.base import Strategy
from evojax_merge.strategies.box import Box


class State(NamedTuple):
    """The state of a search.

    Attributes:
        founders: What the first generations propose; a whole number of generations.
        archive: What children come from, a pytree of the strategy's own.
        generation: How many generations were told.
    """

    founders: Population
    archive: Any
    generation: Int[Array, ""]


class ArchiveStrategy(Strategy):
    """The base class of strategies that propose founders, then children.

    Founders are the genotypes given to `seed`, or samples around the start. The last generation of
    them is filled with samples around the seeds. ``init``, ``ask`` and ``tell`` compile once each.

    Args:
        box: The bounds, where the search begins, and how far around.
        population_size: How many candidates a generation has.
        founders: How many samples around the start come first, where there are no seeds.

    Raises:
        ValueError: A number is not whole, or is below 1.
    """

    uses_span = True

    def __init__(self, box: Box, population_size: Any, founders: Any) -> None:
        self.box = box
        self.dims = box.start.size
        self.population_size = check_population_size(population_size, 1)
        self._founders = check_whole("strategy.founders", founders, 1, MOST_CANDIDATES)
        self._seeds: Population | None = None
        self._compile()

    def seed(self, genotypes: Any) -> Self:
        """Return the same strategy, starting from genotypes ``[seeds, dims]`` in place of samples.

        Raises:
            ValueError: They are no genotypes of this search.
        """
        seeds = np.asarray(genotypes, np.float32)
        if seeds.ndim != 2 or not len(seeds) or seeds.shape[1] != self.dims:
            raise ValueError(
                f"seeds must be genotypes of {self.dims} genes, [seeds, {self.dims}]: their shape "
                f"is {seeds.shape}"
            )
        if (wrong := np.flatnonzero(~np.isfinite(seeds).all(axis=1))).size:
            raise ValueError(f"seed {int(wrong[0])} has genes that are not finite")
        seeded = copy.copy(self)
        seeded._seeds = jnp.asarray(seeds)
        seeded._compile()
        return seeded

    def init(self, key: PRNGKey) -> State:
        """Return the state before the first generation."""
        return self._init_jit(key)

    def ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        """Return one generation of genotypes, inside the bounds."""
        return self._ask_jit(key, state)

    def tell(
        self, key: PRNGKey, population: Population, told: Float[Array, "pop scores"], state: State
    ) -> State:
        """Return the state after the candidates were offered to the archive.

        Args:
            told: Scores on the tasks or items that the strategy hears, which are maximised.

        Raises:
            ValueError: The strategy cannot use the scores. While tracing this is not found.
        """
        if not isinstance(told, jax.core.Tracer):
            self._check(np.asarray(told))
        return self._tell_jit(population, told, state)

    @abc.abstractmethod
    def _empty(self) -> Any:
        """The archive before the first generation."""

    @abc.abstractmethod
    def _any(self, archive: Any) -> Bool[Array, ""]:
        """Whether the archive has a member."""

    @abc.abstractmethod
    def _breed(self, key: PRNGKey, state: State) -> Population:
        """Children of an archive that has members."""

    @abc.abstractmethod
    def _enter(self, archive: Any, genotype: Array, scores: Array) -> Any:
        """The archive after a candidate was offered to it."""

    def _enter_all(
        self, archive: Any, population: Population, told: Float[Array, "pop scores"]
    ) -> Any:
        """The archive after a generation was offered to it, by default one after another."""

        def enter(archive: Any, candidate: tuple[Array, Array]) -> tuple[Any, None]:
            return self._enter(archive, *candidate), None

        return jax.lax.scan(enter, archive, (population, told))[0]

    @abc.abstractmethod
    def _check(self, told: Float[np.ndarray, "pop scores"]) -> None:
        """Raise or warn where the scores are not what the strategy expects."""

    def _compile(self) -> None:
        self._init_jit = jax.jit(self._init)
        self._ask_jit = jax.jit(self._ask)
        self._tell_jit = jax.jit(self._tell)

    def _init(self, key: PRNGKey) -> State:
        first = 0 if self._seeds is None else len(self._seeds)
        total = -(-(first or self._founders) // self.population_size) * self.population_size
        centres = self.box.start[None] if self._seeds is None else self._seeds
        founders = self._around(key, centres, total - first)
        if self._seeds is not None:
            seeds = jnp.clip(self._seeds, self.box.lower, self.box.upper)
            founders = jnp.concatenate([seeds, founders])
        return State(founders, self._empty(), jnp.int32(0))

    def _ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        first = state.generation * self.population_size

        def founders() -> Population:
            return jax.lax.dynamic_slice_in_dim(state.founders, first, self.population_size)

        def children() -> Population:
            return self._breed(key, state)

        def strangers() -> Population:  # as long as no candidate could be measured
            return self._around(key, state.founders, self.population_size)

        def later() -> Population:
            return jax.lax.cond(self._any(state.archive), children, strangers)

        population = jax.lax.cond(first < len(state.founders), founders, later)
        return jnp.clip(population, self.box.lower, self.box.upper), state

    def _tell(
        self, population: Population, told: Float[Array, "pop scores"], state: State
    ) -> State:
        archive = self._enter_all(state.archive, population, told.astype(jnp.float32))
        return State(state.founders, archive, state.generation + 1)

    def _around(
        self, key: PRNGKey, centres: Float[Array, "centres dims"], count: int
    ) -> Population:
        z = jax.random.normal(key, (count, self.dims))
        near = centres[jnp.arange(count) % len(centres)]
        return jnp.clip(near + self.box.sigma * self.box.span * z, self.box.lower, self.box.upper)
