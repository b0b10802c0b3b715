"""MAP-Elites (Mouret and Clune, 2015).

[1] Illuminating search spaces by mapping elites, https://arxiv.org/abs/1504.04909

The search keeps the best candidate of every cell of a grid over descriptors, here the scores of
tasks, and proposes variations of those elites.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from evojax_merge.params.types import Array, Float, Genotype
from evojax_merge.strategies.elites import Elites, check_memory, empty_elites, make_descriptors
from evojax_merge.strategies.elitist import ElitistStrategy
from evojax_merge.strategies.setting import Setting


class MAPElites(ElitistStrategy):
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
        super().__init__(
            setting,
            fitness=fitness,
            descriptors=descriptors,
            population_size=population_size,
            founders=founders,
            sigma=sigma,
            mutation=mutation,
            selection=selection,
            crossover=crossover,
        )
        self.descriptors = make_descriptors(self._names, bins, ranges)
        check_memory(self.descriptors.cells, self.dims)

    def _empty(self) -> Elites:
        return empty_elites(self.descriptors.cells, self.dims, len(self.objectives))

    def _enter(self, archive: Elites, genotype: Genotype, scores: Array) -> Elites:
        cell = self.descriptors.cell(scores[self._columns])
        return archive.add(cell, genotype, scores, self._quality_of(scores))

    def _check(self, told: Float[np.ndarray, "pop tasks"]) -> None:
        self.descriptors.warn_outside(self._names, told[:, self._columns])
