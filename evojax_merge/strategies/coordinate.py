"""Coordinate search, also compass search (Kolda et al., 2003).

[1] Optimization by Direct Search, https://doi.org/10.1137/S003614450242889

From the best candidate so far, one gene at a time is moved up and down by a step, and the best
improvement is taken. Where all genes in turn gave none, the step is halved.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from evojax_merge.documents.arguments import check_population_size
from evojax_merge.params.types import Fitness, Genotype, Population, PRNGKey
from evojax_merge.strategies.base import Strategy, default_population_size
from evojax_merge.strategies.setting import Setting


class State(NamedTuple):
    """The state of a search; structure, shapes and dtypes never change after ``init``."""

    center: Genotype
    fitness: Float[Array, ""]  # of the center; −inf before it is known
    step: Float[Array, ""]  # a share of each gene's span
    gene: Int[Array, ""]  # the next to move
    idle: Int[Array, ""]  # genes moved since the last improvement


class CoordinateSearch(Strategy):
    """A search that moves single genes up and down, half as many a generation as it has candidates.

    The first candidate is the start.

    Args:
        setting: The search that the strategy is for. At a bound a move outwards becomes half a step
            inwards.
        population_size: How many candidates a generation has, an even number; None for
            4 + ⌊3 ln dims⌋, raised to the next even number, or 2 · dims where that is less.
        step: The size of the first moves, a share of each gene's span.

    Raises:
        ValueError: The population is odd, or ``make_box`` refuses the step or the box.
    """

    uses_span = True

    def __init__(
        self,
        setting: Setting,
        *,
        population_size: int | None = None,
        step: float = 0.25,
    ) -> None:
        self.box = setting.box(step)
        self.dims = self.box.start.size
        if population_size is None:
            size = default_population_size(self.dims)
            population_size = min(size + size % 2, 2 * self.dims)
        self.population_size = check_population_size(population_size, 2)
        if population_size % 2:
            raise ValueError(
                "population_size must be an even number of at least 2 (each gene is moved up and "
                f"down), not {population_size!r}"
            )
        self._ask_jit = jax.jit(self._ask)
        self._tell_jit = jax.jit(self._tell)

    def init(self, key: PRNGKey) -> State:
        """Return the state before the first generation."""
        return State(
            center=self.box.start,
            fitness=jnp.float32(-jnp.inf),
            step=jnp.float32(self.box.sigma),
            gene=jnp.int32(0),
            idle=jnp.int32(0),
        )

    def ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        """Return one generation of genotypes, inside the bounds."""
        return self._ask_jit(state)

    def tell(self, key: PRNGKey, population: Population, fitness: Fitness, state: State) -> State:
        """Return the state after a generation was scored; what is not finite is no improvement."""
        return self._tell_jit(population, fitness, state)

    def _ask(self, state: State) -> tuple[Population, State]:
        moved = self.population_size // 2
        genes = (state.gene + jnp.arange(moved)) % self.dims
        at = genes[:, None] == jnp.arange(self.dims)
        step = jnp.where(at, state.step * self.box.span, 0.0)

        def move(direction: float) -> Population:
            there = jnp.clip(state.center + direction * step, self.box.lower, self.box.upper)
            back = jnp.clip(state.center - direction * step / 2, self.box.lower, self.box.upper)
            return jnp.where(at & (there == state.center), back, there)

        population = jnp.concatenate([move(1.0), move(-1.0)])
        unknown = jnp.isneginf(state.fitness)
        population = population.at[0].set(jnp.where(unknown, state.center, population[0]))
        return population, state._replace(gene=(state.gene + moved) % self.dims)

    def _tell(self, population: Population, fitness: Fitness, state: State) -> State:
        known = jnp.where(jnp.isfinite(fitness), fitness, -jnp.inf).astype(jnp.float32)
        best = jnp.argmax(known)
        better = known[best] > state.fitness
        idle = jnp.where(better, 0, state.idle + self.population_size // 2)
        spent = idle >= self.dims
        learned = State(
            center=jnp.where(better, population[best], state.center),
            fitness=jnp.maximum(known[best], state.fitness),
            step=jnp.where(spent, state.step / 2, state.step),
            gene=state.gene,
            idle=jnp.where(spent, 0, idle),
        )
        # A generation that failed altogether says nothing about the genes it moved.
        failed = ~jnp.isfinite(fitness).any()
        return jax.tree.map(lambda new, old: jnp.where(failed, old, new), learned, state)
