"""Dominated novelty search (Bahlous-Boldi et al., 2025).

[1] Dominated Novelty Search: Rethinking Local Competition in Quality-Diversity,
    https://arxiv.org/abs/2502.00593
[2] Dai et al., Discovering Novel LLM Experts via Task-Capability Coevolution, 2026,
    https://arxiv.org/abs/2604.14969, which merges models with it

A candidate is worth how far it is from those that are better than it: with the quality f and the
descriptors d,

    novelty_i = the mean of ‖d_i − d_j‖ over the k nearest j with f_j > f_i,

and infinitely much where there is no such j. A generation competes with the archive, and those of
the highest novelty are kept. There is no grid, so that descriptors need no bins and no ranges, and
may be as many as the items are.
"""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import MOST_CANDIDATES, check_whole
from evojax_merge.params.types import Array, Float, Genotype, Population
from evojax_merge.strategies.breeding import State
from evojax_merge.strategies.elites import Elites, check_memory, empty_elites
from evojax_merge.strategies.elitist import ElitistStrategy
from evojax_merge.strategies.setting import Setting

ITEMS = "items"


class DominatedNoveltySearch(ElitistStrategy):
    """An archive of those that are unlike what is better than they are.

    Departures: of candidates with equal quality the older one counts as better, so that of copies
    one stays ([1] says nothing of ties, and in its code copies of the best one displace each
    other); and children are bred as by `MAPElites`, for which [1] mutates alone. With ``items`` the
    results of every item are the descriptors, as the skills of a model are in [2], which compares
    them by how many a model has that a better one lacks.

    Args:
        setting: The search that the strategy is for. ``sigma`` and ``mutation`` are shares of its
            span, and its objectives are the tasks.
        fitness: The task whose score is the quality; None for the mean of all.
        descriptors: The tasks whose scores are the descriptors; None for all but ``fitness``;
            ``items`` for the result of every item, of which the quality is the mean.
        neighbours: How many of the nearest better ones are asked, k; 3 in [2].
        archive_size: How many members the archive has; 16 in [2].
        population_size, founders, sigma, mutation, selection, crossover: As for `MAPElites`.

    Raises:
        ValueError: A task does not exist, a number is out of place, the archive takes too much
            memory, or `make_box` refuses the box.
    """

    def __init__(
        self,
        setting: Setting,
        *,
        fitness: str | None = None,
        descriptors: Sequence[str] | None = None,
        neighbours: int = 3,
        archive_size: int = 20,
        population_size: int | None = None,
        founders: int | None = None,
        sigma: float = 1 / 6,
        mutation: float | None = None,
        selection: Literal["uniform", "quality"] = "uniform",
        crossover: bool = True,
    ) -> None:
        by_items = descriptors == ITEMS and ITEMS not in setting.objectives
        super().__init__(
            setting,
            fitness=fitness,
            descriptors=None if by_items else descriptors,
            population_size=population_size,
            founders=founders,
            sigma=sigma,
            mutation=mutation,
            selection=selection,
            crossover=crossover,
        )
        if by_items:
            if fitness is not None:
                raise ValueError(
                    f"strategy.fitness is {fitness}, and with strategy.descriptors=items the "
                    "quality is the mean of the items; leave it out"
                )
            self.hears = "items"
            items = check_whole("the number of items", setting.items, 1)
            self._columns = np.arange(items, dtype=np.int32)
        elif not self._names:
            raise ValueError("strategy.descriptors is empty; give at least one task, or items")
        self._scores = len(self._columns) if by_items else len(self.objectives)
        self._neighbours = check_whole("strategy.neighbours", neighbours, 1)
        self.archive_size = check_whole("strategy.archive_size", archive_size, 2, MOST_CANDIDATES)
        check_memory(self.archive_size, self.dims + self._scores)

    def front(self, state: State) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the members ``[n, dims]`` and their scores ``[n, tasks]``; None with items."""
        return None if self.hears == "items" else super().front(state)

    def _empty(self) -> Elites:
        return empty_elites(self.archive_size, self.dims, self._scores)

    def _enter(self, archive: Elites, genotype: Genotype, scores: Array) -> Elites:
        return self._enter_all(archive, genotype[None], scores[None])

    def _enter_all(
        self, archive: Elites, population: Population, told: Float[Array, "pop scores"]
    ) -> Elites:
        valid = jnp.isfinite(told).all(axis=1)
        scores = jnp.where(valid[:, None], told, 0.0)
        quality = jnp.where(valid, self._quality_of(scores), -jnp.inf)
        everyone = jax.tree.map(
            lambda old, new: jnp.concatenate([old, new]),
            archive,
            Elites(population, scores, quality),
        )
        descriptors = everyone.objectives[:, self._columns]
        novelty = dominated_novelty(everyone.quality, descriptors, self._neighbours)
        kept = jnp.argsort(-novelty, stable=True)[: self.archive_size]
        return jax.tree.map(lambda leaf: leaf[jnp.sort(kept)], everyone)  # the older one first

    def _check(self, told: Float[np.ndarray, "pop scores"]) -> None:
        if told.shape[1] != self._scores:
            raise ValueError(f"told {told.shape[1]} scores, but the strategy is for {self._scores}")


def dominated_novelty(
    quality: Float[Array, " members"], descriptors: Float[Array, "members descriptors"], k: int
) -> Float[Array, " members"]:
    """The novelty of each member among those that are better: inf for the best, -inf for no member.

    Args:
        quality: The quality of each, -inf where a place is empty. Of equals the first is better.
        descriptors: What members are compared by.
        k: How many of the nearest are asked, or as many as there are.
    """
    place = jnp.arange(quality.size)
    better = (quality > quality[:, None]) | (
        (quality == quality[:, None]) & (place < place[:, None])
    )
    apart = jax.vmap(lambda one: jnp.linalg.norm(descriptors - one, axis=1))(descriptors)
    nearest = jnp.sort(jnp.where(better, apart, jnp.inf), axis=1)[:, :k]
    near = jnp.isfinite(nearest)
    count = near.sum(axis=1)
    mean = jnp.where(near, nearest, 0.0).sum(axis=1) / jnp.maximum(count, 1)
    novelty = jnp.where(count > 0, mean, jnp.inf)
    return jnp.where(quality > -jnp.inf, novelty, -jnp.inf)
