"""Minibatches: each generation is scored on other items, a random part of them.

[1] Hansen et al., A Method for Handling Uncertainty in Evolutionary Optimization, 2009,
    https://doi.org/10.1109/TEVC.2008.924423: evaluations are increased when their noise, not their
    candidates, decides the ranks.
[2] Byrd et al., Sample Size Selection in Optimization Methods for Machine Learning, 2012,
    https://doi.org/10.1007/s10107-012-0572-5: a part that grows as the signal fades.

All candidates of a generation meet the same items, and the next generation meets others, so that a
search cannot fit the few that it sees, and what is luck averages out over the generations.

The part may grow. Of the variance of the candidates' means some is noise of the choice of items:
what an analysis of variance without replication (candidates × items) leaves over. The rest, as a
share, is how reliable the ranks are. At first candidates differ by much and a few items tell; close
to the optimum they hardly differ. When the reliability of the last generations is below what is
asked for, the part is doubled, at last to all items, and never shrinks again.
"""

import math
from typing import NamedTuple

import numpy as np

from evojax_merge.arguments import check_whole
from evojax_merge.evolution.scoring.base import Items, Measure, Scores, blank, check_share
from evojax_merge.types import Float


class Spread(NamedTuple):
    """Variance of the means of a generation's candidates, and how much of it the items cause."""

    total: float
    noise: float


class Minibatch:
    """Scores a generation on a fresh part of the items.

    Args:
        items: Number of items.
        size: How many a generation is scored on, at most.
        first: How many the first generations are scored on; None: ``size``.
        reliability: Share of the variance of the candidates' means that is to be theirs; more items
            are taken when it is less, up to ``size``.
        patience: Generations that a size is judged by, the last ones.
        seed: Of the draws.

    Raises:
        ValueError: A part that is larger than the data, or a number that makes no sense.
    """

    def __init__(
        self,
        items: int,
        *,
        size: int = 128,
        first: int | None = None,
        reliability: float = 0.5,
        patience: int = 4,
        seed: int = 0,
    ) -> None:
        check_whole("savers.minibatch.size", size, 2)
        check_whole("savers.minibatch.patience", patience, 1)
        check_share("savers.minibatch.reliability", reliability)
        first = size if first is None else check_whole("savers.minibatch.first", first, 2)
        if first > size:
            raise ValueError(
                f"savers.minibatch.first is {first}, more than savers.minibatch.size, {size}"
            )
        if size > items:
            raise ValueError(
                f"savers.minibatch.size is {size}, and the search split has {items} items; give a "
                "smaller size, or more items"
            )
        self._items, self._seed = items, seed
        self._reliability, self._patience = reliability, patience
        self._size, self._most = first, size
        self._seen: list[Spread] = []

    @property
    def size(self) -> int:
        """Items that the next generation is scored on."""
        return self._size

    def __call__(self, generation: int, count: int, measure: Measure) -> Scores:
        """Measure a generation on its part."""
        drawn = np.random.default_rng((self._seed, generation)).permutation(self._items)
        rows = np.sort(drawn[: self._size])
        items = blank(count, self._items)
        items[:, rows] = measure(np.arange(count), rows)
        if self._size == self._items:
            return Scores(items)
        met = items[:, rows].astype(np.float64)
        fitness = met.mean(axis=1)  # nan of whoever failed on one of them
        sound = np.isfinite(fitness)
        spread = met[sound].var(axis=1, ddof=1).mean() if sound.any() else 0.0
        error = math.sqrt(spread * (1 - self._size / self._items) / self._size)
        return Scores(items, fitness.astype(np.float32), np.full(count, error, np.float32))

    def learn(self, generation: int, items: Items, fitness: Float[np.ndarray, "pop"]) -> None:
        """Judge the size by a finished generation."""
        spread = spread_of(items[np.isfinite(fitness)])
        if self._size == self._most or spread is None:
            return
        self._seen = [*self._seen, spread][-self._patience :]
        if len(self._seen) == self._patience and self._reliability > _reliability(self._seen):
            self._size = min(2 * self._size, self._most)
            self._seen = []


def spread_of(items: Items) -> Spread | None:
    """Spread of some candidates' means over the items that they met; None: nothing to go by."""
    met = items[:, np.isfinite(items).all(axis=0)].astype(np.float64)
    candidates, count = met.shape
    if candidates < 2 or count < 2:
        return None
    means = met.mean(axis=1, keepdims=True)
    left = met - means - met.mean(axis=0) + met.mean()
    noise = (left**2).sum() / ((candidates - 1) * (count - 1)) / count
    return Spread(float(means.var(ddof=1)), float(noise))


def _reliability(spreads: list[Spread]) -> float:
    """One less the share of noise; of candidates that are all the same, 0."""
    total = math.fsum(spread.total for spread in spreads)
    noise = math.fsum(spread.noise for spread in spreads)
    return 1 - noise / total if total > 0 else 0.0
