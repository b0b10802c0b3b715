"""Minibatches, which score each generation on other items and prefer those that tell most.

All candidates of a generation meet the same items, and the next generation meets others, so that a
search cannot fit the few that it sees, and what is luck averages out over the generations.

An item that all candidates answer, or none, says nothing of who is better, and close to the optimum
that is most of them. So items are drawn with a probability in proportion to how far the candidates
of late generations differed on them (the standard deviation, as Neyman's allocation), weighted by
its inverse. What an item gave of late is its expectation, from which the fitness is the weighted
difference: estimates of different generations then differ by little more than their candidates.
"""

import numpy as np

from evojax_merge.config.experiment import MinibatchConfig
from evojax_merge.documents.arguments import check_whole
from evojax_merge.params.types import Float
from evojax_merge.savers.base import Items, Measure, Scores, blank
from evojax_merge.savers.sampling import draw, estimate, inclusion

FADING = 0.95
"""What the weight of a generation is multiplied by after each later one."""

PRIOR = 0.3
"""How many generations the average of all items counts for in what is known of each item."""

EVEN = 0.1
"""The part of the probabilities that is the same for all items, so that each comes up at times."""

LEAST = 16
"""The fewest items of a generation; fewer would have other probabilities than intended."""


class Minibatch:
    """A rule that scores a generation on a fresh part of the items.

    Args:
        items: The number of items.
        size: How many items a generation is scored on.
        informative: Whether items that tell candidates apart are drawn more often than others.
        fresh: Whether each generation meets other items; if not, all meet the same ones, and each
            item is equally likely to be among them.
        seed: The seed of the draws.

    Raises:
        ValueError: The part is larger than the data, or a number makes no sense.
    """

    def __init__(
        self,
        items: int,
        *,
        size: int = MinibatchConfig.size,
        informative: bool = MinibatchConfig.informative,
        fresh: bool = MinibatchConfig.fresh,
        seed: int = 0,
    ) -> None:
        check_whole("savers.minibatch.size", size, LEAST)
        if size > items:
            raise ValueError(
                f"savers.minibatch.size is {size}, and the search split has {items} items; give a "
                "smaller size, or more items"
            )
        self._items, self._size, self._seed = items, size, seed
        self._informative, self._fresh = informative and fresh, fresh
        self._met, self._sum, self._variance = np.zeros((3, items))

    def __call__(self, generation: int, count: int, measure: Measure) -> Scores:
        """Measure a generation on its part."""
        everyone = np.arange(count)
        if self._size == self._items:
            return Scores(measure(everyone, np.arange(self._items)))
        expected, spread = self._expected()
        shares = inclusion((1 - EVEN) * spread + EVEN, self._size)
        rng = np.random.default_rng((self._seed, generation if self._fresh else 0))
        rows = draw(rng, shares, self._size)
        items = blank(count, self._items)
        items[:, rows] = measure(everyone, rows)
        fitness, error = estimate(items[:, rows].astype(float), shares[rows], expected, rows)
        told = np.full(count, error, np.float32) if self._fresh else None
        return Scores(items, fitness.astype(np.float32), told)

    def learn(self, generation: int, items: Items, fitness: Float[np.ndarray, " pop"]) -> None:
        """Keep what the items of a finished generation gave, and how much candidates differed."""
        sound = items[np.isfinite(fitness)].astype(float)
        if not self._informative or len(sound) < 2:
            return
        met = np.isfinite(sound).all(axis=0)
        for kept in (self._met, self._sum, self._variance):
            kept *= FADING
        self._met[met] += 1
        self._sum[met] += sound[:, met].mean(axis=0)
        self._variance[met] += sound[:, met].var(axis=0, ddof=1)

    def _expected(self) -> tuple[Float[np.ndarray, " items"], Float[np.ndarray, " items"]]:
        """The mean result of each item, and the deviation of candidates on it as a share of the
        mean deviation; all items are alike while nothing is known."""
        seen = self._met.sum()
        if not seen:
            return np.zeros(self._items), np.ones(self._items)
        means, variances = (
            (kept + PRIOR * kept.sum() / seen) / (self._met + PRIOR)
            for kept in (self._sum, self._variance)
        )
        deviations = np.sqrt(variances)
        mean = deviations.mean()
        return means, deviations / mean if mean > 0 else np.ones(self._items)
