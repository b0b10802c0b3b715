"""MAP-Elites (Mouret and Clune, 2015).

[1] Illuminating search spaces by mapping elites, https://arxiv.org/abs/1504.04909

The search keeps the best candidate of every cell of a grid over descriptors, here the scores of
tasks, and proposes variations of those elites.
"""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import check_number, check_switch
from evojax_merge.params.types import Array, Bool, Float, Genotype, Population, PRNGKey
from evojax_merge.strategies.base import check_names, default_population_size
from evojax_merge.strategies.breeding import ArchiveStrategy, State
from evojax_merge.strategies.elites import Grid, check_memory, empty_grid, make_descriptors
from evojax_merge.strategies.mating import (
    crossover,
    draw_pair,
    mutate,
    proportional_or_uniform,
)
from evojax_merge.strategies.setting import Setting


class MAPElites(ArchiveStrategy):
    """A grid of elites over the scores of tasks.

    Departures from [1]: scores are descriptors; a score outside its range counts as the nearest
    end, with a warning; and there is a crossover, by which this is the MAP-Elites that M2N2 is
    compared with (arXiv 2508.16204:
    ``population_size=1 founders=2 bins=10 selection=quality sigma=0.01`` on weights, parents in
    proportion to quality). A candidate with a score that is not finite is no elite.

    Args:
        setting: The search that the strategy is for. ``sigma`` and ``mutation`` are shares of its
            span, and its objectives are the tasks.
        fitness: The task whose score is the quality; None for the mean of all.
        descriptors: The tasks whose scores are the descriptors; None for all but ``fitness``.
        bins: How many bins each descriptor has, or one number for all.
        ranges: The range [low, high] of each descriptor, or one for all.
        population_size: How many children a generation has; None for 4 + ⌊3 ln dims⌋.
        founders: How many samples around the start come first, where `seed` gives none; None for a
            generation of them.
        sigma: The standard deviation of the founders, a share of the span.
        mutation: The standard deviation of the mutation, a share of the span; None for ``sigma``,
            or for 0 when the search starts from given genotypes and children come from two parents.
        selection: Parents are drawn ``uniform`` among the elites, or in proportion to ``quality``.
        crossover: A child has two parents, as in M2N2; otherwise one.

    Raises:
        ValueError: A task does not exist, a range or number is out of place, the archive takes too
            much memory, or `make_box` refuses the box.
    """

    hears = "objectives"

    def __init__(
        self,
        setting: Setting,
        *,
        fitness: str | None = None,
        descriptors: Sequence[str] | None = None,
        bins: Any = 10,
        ranges: Any = (0.0, 1.0),
        population_size: int | None = None,
        founders: int | None = None,
        sigma: float = 1 / 6,
        mutation: float | None = None,
        selection: Literal["uniform", "quality"] = "uniform",
        crossover: bool = True,
    ) -> None:
        box = setting.box(sigma)
        size = default_population_size(box.start.size)
        size = size if population_size is None else population_size
        self.objectives = tuple(setting.objectives)
        if isinstance(descriptors, str):
            descriptors = [descriptors]
        if not isinstance(descriptors, Sequence | None):
            raise ValueError(f"strategy.descriptors is {descriptors!r}; give a list of tasks")
        check_names([] if fitness is None else [fitness], self.objectives, "strategy.fitness")
        check_names(descriptors or (), self.objectives, "strategy.descriptors")
        if descriptors is None:
            descriptors = [name for name in self.objectives if name != fitness]
        if len(set(descriptors)) < len(descriptors):
            raise ValueError(f"strategy.descriptors names a task twice: {', '.join(descriptors)}")
        self.descriptors = make_descriptors(tuple(descriptors), bins, ranges)
        check_memory(self.descriptors.cells, box.start.size)
        if selection not in ("uniform", "quality"):
            raise ValueError(f"strategy.selection must be uniform or quality, not {selection!r}")
        self._names = tuple(descriptors)
        self._columns = np.array([self.objectives.index(name) for name in descriptors])
        self._quality = None if fitness is None else self.objectives.index(fitness)
        if mutation is not None:
            check_number("strategy.mutation", mutation, 0)
        self._mutation = None if mutation is None else float(mutation)
        check_switch("strategy.crossover", crossover)
        self._selection = selection
        self._crossover = crossover
        super().__init__(box, size, size if founders is None else founders)

    def front(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Return the elites ``[n, dims]`` and their scores ``[n, tasks]``."""
        grid = jax.tree.map(np.asarray, state.archive)
        elites = grid.quality > -np.inf
        return grid.genotypes[elites], grid.objectives[elites]

    @property
    def mutation(self) -> float:
        """The standard deviation of the mutation, a share of the span."""
        if self._mutation is not None:
            return self._mutation
        return 0.0 if self._seeds is not None and self._crossover else self.box.sigma

    def _empty(self) -> Grid:
        return empty_grid(self.descriptors.cells, self.dims, len(self.objectives))

    def _any(self, archive: Grid) -> Bool[Array, ""]:
        return archive.occupied.any()

    def _breed(self, key: PRNGKey, state: State) -> Population:
        grid = state.archive
        weights = grid.occupied.astype(jnp.float32)
        if self._selection == "quality":
            positive = jnp.where(grid.occupied, jnp.maximum(grid.quality, 0.0), 0.0)
            weights = proportional_or_uniform(positive, grid.occupied)
        keys = jax.random.split(key, self.population_size)
        return jax.vmap(self._child, in_axes=(0, None, None))(keys, grid, weights)

    def _child(self, key: PRNGKey, grid: Grid, weights: Float[Array, " cells"]) -> Genotype:
        key_parents, key_crossover, key_mutation = jax.random.split(key, 3)
        first, second = draw_pair(key_parents, weights)
        child = grid.genotypes[first]
        if self._crossover:
            child = crossover(key_crossover, child, grid.genotypes[second])
        if self.mutation:
            child = mutate(key_mutation, child, self.mutation * self.box.span)
        return child

    def _enter(self, archive: Grid, genotype: Genotype, scores: Array) -> Grid:
        quality = jnp.mean(scores) if self._quality is None else scores[self._quality]
        cell = self.descriptors.cell(scores[self._columns])
        return archive.add(cell, genotype, scores, quality)

    def _check(self, told: Float[np.ndarray, "pop tasks"]) -> None:
        self.descriptors.warn_outside(self._names, told[:, self._columns])
