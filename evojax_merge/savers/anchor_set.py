"""The choice of items that stand for all, and the estimate that is made of them."""

import numpy as np

from evojax_merge.params.types import Float, Int
from evojax_merge.savers.base import Items
from evojax_merge.savers.clusters import clusters
from evojax_merge.savers.item_response import ItemResponse, fit


class AnchorSet:
    """Anchors, and estimates of the mean over all items.

    Args:
        model: The item-response model of all items.
        rows: The places of the anchors among all items.
        weights: The share of all items that each anchor stands for.
        known: The results that the model was fitted to; nan where there is none.
    """

    def __init__(
        self,
        model: ItemResponse,
        rows: Int[np.ndarray, " anchors"],
        weights: Float[np.ndarray, " anchors"],
        known: Items,
    ) -> None:
        self.rows, self._weights, self._model = rows, weights, model
        # Of those that a race lets through to the end, the best, no weighting can be learned.
        self._share = self._fitting_share(known) if np.isfinite(known).all() else 0.0

    def estimate(self, items: Items) -> Float[np.ndarray, " pop"]:
        """The mean over all items; nan where a candidate's result on an anchor is not finite.

        Every candidate is measured on the anchors. For one that was measured on more items, the
        model's estimate counts alone, which is exact when nothing is missing.

        Args:
            items: What was measured.
        """
        sound = np.isfinite(items[:, self.rows]).all(axis=1)
        more = np.isfinite(items).sum(axis=1) > len(self.rows)
        modelled = self._modelled(items)
        share = np.where(more, 0.0, self._share)
        mixed = share * self._direct(np.where(sound[:, None], items, 0)) + (1 - share) * modelled
        return np.where(sound, mixed, np.nan).astype(np.float32)

    def _fitting_share(self, known: Items) -> float:
        """The share of the weighted mean with which both estimates come closest to the known."""
        direct, modelled = self._direct(known), self._modelled(self._only(known))
        apart = direct - modelled
        spread = float(apart @ apart)
        if spread == 0:
            return 0.5
        truth = known.mean(axis=1, dtype=np.float64)
        return min(max(float(apart @ (truth - modelled)) / spread, 0.0), 1.0)

    def _only(self, items: Items) -> Items:
        anchors = np.full_like(items, np.nan)
        anchors[:, self.rows] = items[:, self.rows]
        return anchors

    def _direct(self, items: Items) -> Float[np.ndarray, " pop"]:
        return items[:, self.rows].astype(np.float64) @ self._weights

    def _modelled(self, items: Items) -> Float[np.ndarray, " pop"]:
        every = np.arange(items.shape[1])
        predicted = self._model.predict(self._model.abilities(items, every))
        return np.where(np.isfinite(items), items, predicted).mean(axis=1)


def choose_anchors(known: Items, anchors: int, dimensions: int, seed: int) -> AnchorSet:
    """Fit a model, and take the item nearest to the centre of each cluster of items.

    Args:
        known: The results in [0, 1]; nan where there is none.
        anchors: The number of anchors.
        dimensions: The number of dimensions of ability.
        seed: The seed of the model's start and of the clustering.
    """
    model = fit(known, dimensions, seed)
    places = np.column_stack([model.discrimination, model.difficulty])
    places = places / np.maximum(places.std(axis=0), 1e-9)
    centres, labels = clusters(places, anchors, seed)
    rows, weights = [], []
    for cluster, centre in enumerate(centres):
        members = np.flatnonzero(labels == cluster)
        if len(members):  # fewer distinct items than clusters leave some empty
            distance = np.square(places[members] - centre).sum(axis=1)
            rows.append(int(members[distance.argmin()]))
            weights.append(len(members) / len(places))
    order = np.argsort(rows)
    return AnchorSet(model, np.array(rows)[order], np.array(weights)[order], known)
