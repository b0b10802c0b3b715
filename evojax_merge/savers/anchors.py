"""Anchors: a few items that stand for all.

[1] Polo et al., tinyBenchmarks, arXiv 2402.14992: anchors by clustering items in the space of an
    item-response model, and the estimators weighted mean, p-IRT and gp-IRT.
[2] Mencattini et al., MERGE3, arXiv 2502.10436: such an estimate as the fitness of evolved merges.

The sources and the first candidates are measured on all items, and an item-response model is fitted
to their results. Items with like parameters form a cluster; the item nearest to its centre is its
anchor, weighted by the cluster's size. A candidate is measured on the anchors alone, and its
fitness is

    λ · weighted mean of the anchors + (1 − λ) · mean over all items of what was measured, or else
    the model's probability at the ability that the anchors suggest,

with the λ that fits the candidates known in full best. There is a departure: [2] expresses a
merge's ability as a combination of its sources'; here the ability is free. Every few generations
the candidates that look best are measured on the rest too, and the model and its anchors are made
anew.

Together with races (`Racing`) the first candidates are raced, and the model is fitted to what they
met; then the anchors are the first round of each race, and the estimates say who is worse. Whoever
goes on is measured on more items, all of which the model's estimate, λ = 0, takes into account.
"""

import numpy as np

from evojax_merge.config.experiment import AnchorsConfig
from evojax_merge.documents.arguments import check_whole
from evojax_merge.params.types import Float
from evojax_merge.savers.anchor_set import AnchorSet, choose_anchors
from evojax_merge.savers.base import Items, Measure, Scores, blank
from evojax_merge.savers.racing import Racing

_MOST_KNOWN = 256
"""The most candidates that a model is fitted to, the last ones, unless ``initial`` is more."""


class Anchors:
    """A rule that scores a generation on anchors.

    Args:
        items: The number of items.
        anchors: How many of the items are anchors.
        initial: How many candidates are measured on all items before the first model, rounded up
            to generations.
        refresh: The number of generations after which the model is made anew.
        check: How many candidates are then measured in full.
        dimensions: The number of dimensions of ability.
        seed: The seed of the model's start and of the clustering.
        racing: The races that are held at the same time; the best of each are measured in full, so
            that there is no other ``check``.
        sources: The results of the sources on all items; None where they are not known.

    Raises:
        ValueError: There are not more items than anchors, or a number makes no sense.
    """

    def __init__(
        self,
        items: int,
        *,
        anchors: int = AnchorsConfig.anchors,
        initial: int = AnchorsConfig.initial,
        refresh: int = AnchorsConfig.refresh,
        check: int = AnchorsConfig.check,
        dimensions: int = AnchorsConfig.dimensions,
        seed: int = 0,
        racing: Racing | None = None,
        sources: Items | None = None,
    ) -> None:
        check_whole("savers.anchors.anchors", anchors, 2)
        check_whole("savers.anchors.initial", initial, 2)
        check_whole("savers.anchors.refresh", refresh, 1)
        check_whole("savers.anchors.check", check, 1)
        check_whole("savers.anchors.dimensions", dimensions, 1)
        if anchors >= items:
            raise ValueError(
                f"savers.anchors.anchors is {anchors}, and the search split has {items} items; "
                "give fewer anchors, or leave the saver out"
            )
        self._items, self._anchors = items, anchors
        self._initial, self._refresh, self._check = initial, refresh, check
        self._dimensions, self._seed, self._racing = dimensions, seed, racing
        self._sources = () if sources is None else tuple(sources[np.isfinite(sources).all(axis=1)])
        self._check_range(np.array(self._sources))
        self._known: list[Float[np.ndarray, " items"]] = []
        self._chosen: AnchorSet | None = None

    def __call__(self, generation: int, count: int, measure: Measure) -> Scores:
        """Measure a generation on the anchors, or on all items while there are no anchors.

        Every ``refresh`` generations the best candidates are measured on all items too.
        """
        every, all_items = np.arange(count), np.arange(self._items)
        chosen = self._chosen
        if self._racing is not None:
            if chosen is None:
                return self._racing(generation, count, measure)
            items, groups = self._racing.rounds(generation, count, measure, chosen)
            fitness = chosen.estimate(items)
            for members, met in groups:  # to the model a failure would be an item not measured
                failed = ~np.isfinite(items[np.ix_(members, met)]).all(axis=1)
                fitness[members[failed]] = np.nan
            return Scores(items, fitness)
        if chosen is None:
            return Scores(measure(every, all_items))
        items = blank(count, self._items)
        items[:, chosen.rows] = measure(every, chosen.rows)
        fitness = chosen.estimate(items)
        if generation % self._refresh == 0:
            order = np.argsort(-np.where(np.isfinite(fitness), fitness, -np.inf), kind="stable")
            best = np.sort(order[: min(self._check, count)])
            items[best] = measure(best, all_items)
            fitness[best] = items[best].mean(axis=1)
        return Scores(items, fitness)

    def learn(self, generation: int, items: Items, fitness: Float[np.ndarray, " pop"]) -> None:
        """Keep what was measured, and make the model when there is enough, and then anew.

        Without races only candidates that were measured in full are kept.

        Raises:
            ValueError: A result is not between 0 and 1.
        """
        measured = np.isfinite(items)
        kept = items[measured.all(axis=1) if self._racing is None else measured.any(axis=1)]
        self._check_range(kept)
        self._known = [*self._known, *kept][-max(_MOST_KNOWN, self._initial) :]
        due = self._chosen is None or generation % self._refresh == 0
        if due and len(self._known) >= self._initial:
            self._chosen = choose_anchors(
                np.stack([*self._sources, *self._known]),
                self._anchors,
                self._dimensions,
                self._seed,
            )

    @staticmethod
    def _check_range(items: Float[np.ndarray, "..."]) -> None:
        low, high = (np.nanmin(items), np.nanmax(items)) if len(items) else (0, 1)
        if low < 0 or high > 1:
            raise ValueError(
                "savers.anchors works for results between 0 (wrong) and 1 (right); this task's are "
                f"between {low:g} and {high:g}. Leave it out; savers.racing works for any"
            )
