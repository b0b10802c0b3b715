"""Anchors: a few items that stand for all.

[1] Polo et al., tinyBenchmarks, arXiv 2402.14992: anchors by clustering items in the space of an
    item-response model, and the estimators weighted mean, p-IRT and gp-IRT.
[2] Mencattini et al., MERGE3, arXiv 2502.10436: such an estimate as the fitness of evolved merges.

The first candidates are measured on all items, and an item-response model is fitted to their
results. Items with like parameters form a cluster; the item nearest to its centre is its anchor,
weighted by the cluster's size. A candidate is measured on the anchors alone, and its fitness is

    λ · weighted mean of the anchors + (1 − λ) · mean over all items of what was measured, or else
    the model's probability at the ability that the anchors suggest,

with the λ that fits the candidates known in full best. Departures: [2] expresses a merge's ability
as a combination of its sources'; here the ability is free. Every few generations the candidates
that look best are measured on the rest too, and the model and its anchors are made anew.
"""

import numpy as np

from evojax_merge.evolution.scoring.base import (
    Items,
    Measure,
    Scores,
    blank,
    check_whole,
)
from evojax_merge.evolution.scoring.item_response import ItemResponse, fit
from evojax_merge.types import Float, Int

_MOST_KNOWN = 256
"""Candidates that a model is fitted to at most, the last ones."""


class Anchors:
    """Scores a generation on anchors.

    Args:
        items: Number of items.
        anchors: How many of them.
        initial: Candidates measured on all items before the first model, rounded up to generations.
        refresh: Generations after which the model is made anew.
        check: Candidates that are then measured in full.
        dimensions: Of ability.
        seed: Of the model's start and of the clustering.

    Raises:
        ValueError: Fewer items than anchors, or a number that makes no sense.
    """

    def __init__(
        self,
        items: int,
        *,
        anchors: int = 20,
        initial: int = 24,
        refresh: int = 5,
        check: int = 2,
        dimensions: int = 2,
        seed: int = 0,
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
        self._dimensions, self._seed = dimensions, seed
        self._known: list[Float[np.ndarray, items]] = []
        self._chosen: _Chosen | None = None

    def __call__(self, generation: int, count: int, measure: Measure) -> Scores:
        """Measure a generation on the anchors; first ones, and now and then the best, on all."""
        every, all_items = np.arange(count), np.arange(self._items)
        if self._chosen is None:
            return Scores(measure(every, all_items))
        chosen = self._chosen
        items = blank(count, self._items)
        items[:, chosen.rows] = measure(every, chosen.rows)
        fitness = chosen.estimate(items[:, chosen.rows])
        if generation % self._refresh == 0:
            order = np.argsort(-np.where(np.isfinite(fitness), fitness, -np.inf), kind="stable")
            best = np.sort(order[: min(self._check, count)])
            items[best] = measure(best, all_items)
            fitness[best] = items[best].mean(axis=1)
        return Scores(items, fitness)

    def learn(self, generation: int, items: Items, fitness: Float[np.ndarray, "pop"]) -> None:
        """Keep what was measured in full; make the model when there is enough, and then anew.

        Raises:
            ValueError: A result is not between 0 and 1.
        """
        whole = items[np.isfinite(items).all(axis=1)]
        if whole.size and (whole.min() < 0 or whole.max() > 1):
            raise ValueError(
                "savers.anchors works for results between 0 (wrong) and 1 (right); this task's are "
                f"between {whole.min():g} and {whole.max():g}. Use savers.racing"
            )
        self._known = [*self._known, *whole][-_MOST_KNOWN:]
        due = self._chosen is None or generation % self._refresh == 0
        if due and len(self._known) >= self._initial:
            self._chosen = _choose(
                np.stack(self._known), self._anchors, self._dimensions, self._seed
            )


class _Chosen:
    """Anchors, and the estimate that is made of them."""

    def __init__(
        self,
        model: ItemResponse,
        rows: Int[np.ndarray, "anchors"],
        weights: Float[np.ndarray, "anchors"],
        known: Float[np.ndarray, "pop items"],
    ) -> None:
        self.rows, self._weights, self._model = rows, weights, model
        direct, modelled = self._estimates(known[:, rows])
        truth = known.mean(axis=1, dtype=np.float64)
        apart = direct - modelled
        spread = float(apart @ apart)
        share = float(apart @ (truth - modelled)) / spread if spread > 0 else 0.5
        self._share = min(max(share, 0.0), 1.0)

    def estimate(self, results: Float[np.ndarray, "pop anchors"]) -> Float[np.ndarray, "pop"]:
        """Mean over all items, from the results on the anchors; nan where one is not finite."""
        sound = np.isfinite(results).all(axis=1)
        direct, modelled = self._estimates(np.where(sound[:, None], results, 0))
        mixed = self._share * direct + (1 - self._share) * modelled
        return np.where(sound, mixed, np.nan).astype(np.float32)

    def _estimates(
        self, results: Float[np.ndarray, "pop anchors"]
    ) -> tuple[np.ndarray, np.ndarray]:
        direct = results.astype(np.float64) @ self._weights
        predicted = self._model.predict(self._model.abilities(results, self.rows))
        predicted[:, self.rows] = results
        return direct, predicted.mean(axis=1)


def _choose(
    known: Float[np.ndarray, "pop items"], anchors: int, dimensions: int, seed: int
) -> _Chosen:
    from sklearn.cluster import KMeans  # a second of import, for searches that ask for it

    model = fit(known, dimensions, seed)
    places = np.column_stack([model.discrimination, model.difficulty])
    places = places / np.maximum(places.std(axis=0), 1e-9)
    clusters = KMeans(anchors, n_init=4, random_state=seed).fit(places)
    rows, weights = [], []
    for cluster, centre in enumerate(clusters.cluster_centers_):
        members = np.flatnonzero(clusters.labels_ == cluster)
        if len(members):  # fewer distinct items than clusters leave some empty
            distance = np.square(places[members] - centre).sum(axis=1)
            rows.append(int(members[distance.argmin()]))
            weights.append(len(members) / len(places))
    order = np.argsort(rows)
    return _Chosen(model, np.array(rows)[order], np.array(weights)[order], known)
