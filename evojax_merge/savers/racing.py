"""Races, which score candidates on growing subsets of items and stop the clearly worse early.

[1] Jamieson, Talwalkar, Non-stochastic best arm identification and hyperparameter optimization,
    arXiv 1502.07943: successive halving.
[2] Maron, Moore, Hoeffding races, NeurIPS 1993: stop what is worse with a stated error.

Items are divided into blocks. In each generation all candidates meet the same blocks in the same
random order, so that differences between them are differences of paired results. There are three
departures. A generation is raced by itself. It is not the best alone that counts but the better
part, since a strategy recombines several parents. And the test of [2] is a paired t-test with the
correction for drawing from finitely many items, instead of Hoeffding's bound, which hardly ever
stops anyone.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from evojax_merge.config.experiment import RacingConfig
from evojax_merge.documents.arguments import check_whole
from evojax_merge.params.types import Bool, Float, Int
from evojax_merge.savers.anchor_set import AnchorSet
from evojax_merge.savers.base import Items, Measure, Scores, blank, check_share, order_of

STOPPING = ("halving", "test")


class Group(NamedTuple):
    """Candidates that stopped in the same round, and the items that they met until then."""

    members: Int[np.ndarray, " group"]
    met: Bool[np.ndarray, " items"]


class Racing:
    """A rule that scores a generation in rounds.

    Args:
        items: The number of items.
        blocks: The number of equal parts that the items are divided into.
        rungs: How many blocks a candidate has met after each round. The numbers grow, and the last
            need not be all: ``[2]`` of 8 blocks scores a fresh quarter of the items in each
            generation.
        stopping: Who stops after a round: with ``halving``, all but the best 1/``factor``; with
            ``test``, those that are worse than the last of the ``parents`` with an error of
            ``error`` for each comparison.
        factor: The divisor of the candidates that go on, for ``halving``.
        parents: The share of the generation that is to be told apart well; at least as many go on.
        error: The error of each comparison, for ``test``.
        seed: The seed of the blocks and of their order.

    Raises:
        ValueError: The schedule is larger than the data or does not grow, or a share is none.
    """

    def __init__(
        self,
        items: int,
        *,
        blocks: int = RacingConfig.blocks,
        rungs: Sequence[int] = tuple(RacingConfig().rungs),
        stopping: str = RacingConfig.stopping,
        factor: float = RacingConfig.factor,
        parents: float = RacingConfig.parents,
        error: float = RacingConfig.error,
        seed: int = 0,
    ) -> None:
        check_whole("savers.racing.blocks", blocks, 2)
        if blocks > items:
            raise ValueError(
                f"savers.racing.blocks is {blocks}, and the search split has {items} items; a "
                "block needs one at least"
            )
        for rung in rungs:
            check_whole("an entry of savers.racing.rungs", rung, 1)
        if not rungs or list(rungs) != sorted(set(rungs)) or rungs[-1] > blocks:
            raise ValueError(
                f"savers.racing.rungs is {list(rungs)}; give numbers of blocks that grow and end "
                f"at savers.racing.blocks, {blocks}, at most"
            )
        if stopping not in STOPPING:
            raise ValueError(
                f"savers.racing.stopping is {stopping!r}; choose among {', '.join(STOPPING)}"
            )
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not factor > 1:
            raise ValueError(f"savers.racing.factor is {factor!r}; give a number above 1")
        check_share("savers.racing.parents", parents, 0, 1)
        check_share("savers.racing.error", error, 0, 0.5)
        self._items = items
        self._rungs = tuple(rungs)
        self._stopping, self._factor, self._parents = stopping, factor, parents
        self._error, self._seed = error, seed
        shuffled = np.random.default_rng(seed).permutation(items)
        self._blocks = [np.sort(part) for part in np.array_split(shuffled, blocks)]

    def __call__(self, generation: int, count: int, measure: Measure) -> Scores:
        """Measure a generation, round by round."""
        items, groups = self.rounds(generation, count, measure)
        return Scores(items, _standing(items, groups))

    def rounds(
        self, generation: int, count: int, measure: Measure, anchors: AnchorSet | None = None
    ) -> tuple[Items, list[Group]]:
        """What was measured, and who stopped in each round; the last group went on to the end.

        Args:
            generation: The number of the generation.
            count: The number of candidates.
            measure: What measures some of them.
            anchors: What all meet in a round before the first; its estimate says who is worse.
        """
        order = order_of(self._seed, generation, len(self._blocks))
        least = max(1, math.ceil(self._parents * count))
        items = blank(count, self._items)
        alive = np.arange(count)
        met = np.zeros(self._items, bool)
        groups: list[Group] = []
        rounds = [
            np.concatenate([self._blocks[block] for block in order[done:rung]])
            for done, rung in zip((0, *self._rungs), self._rungs, strict=False)
        ]
        if anchors is not None:
            rounds.insert(0, anchors.rows)
        for number, rows in enumerate(rounds):
            new = rows[~met[rows]]
            items[np.ix_(alive, new)] = measure(alive, new)
            met[new] = True
            if number == len(rounds) - 1 or len(alive) <= least:
                continue
            results = items[np.ix_(alive, np.flatnonzero(met))]
            means = results.mean(axis=1)
            if anchors is not None:  # whoever failed on an item has no mean, and no estimate
                means = np.where(np.isfinite(means), anchors.estimate(items[alive]), np.nan)
            going = self._going(results, means, least)
            groups.append(Group(alive[~going], met.copy()))
            alive = alive[going]
        return items, [*groups, Group(alive, met)]

    def learn(self, generation: int, items: Items, fitness: Float[np.ndarray, " pop"]) -> None:
        """Do nothing, since each generation is a race of its own."""

    def _going(
        self, results: Items, means: Float[np.ndarray, " alive"], least: int
    ) -> Bool[np.ndarray, " alive"]:
        """Who goes on, by the results on the items met so far and what they say of the mean."""
        means = np.where(np.isfinite(means), means, -np.inf)
        order = np.argsort(-means, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        if self._stopping == "halving":
            return rank < max(least, math.ceil(len(means) / self._factor))
        behind = results[order[least - 1]] - results
        met, total = behind.shape[1], self._items
        deviation = behind.std(axis=1, ddof=1) if met > 1 else np.full(len(means), np.inf)
        error = deviation * math.sqrt((1 - met / total) / met)
        limit = float(special.stdtrit(max(met - 1, 1), 1 - self._error))
        worse = ~np.isfinite(means) | (behind.mean(axis=1) > limit * error)
        return (rank < least) | ~worse


def _standing(items: Items, groups: Sequence[Group]) -> Float[np.ndarray, " pop"]:
    """The fitness of each candidate on the scale of those that met the most items.

    A candidate that stopped has the mean of what it met, plus how much easier the survivors found
    all that they met than that. It stays below whoever went on.
    """
    *lost, (alive, met) = groups
    fitness = np.full(len(items), np.nan, np.float64)
    fitness[alive] = _means(items, alive, met)
    reference = alive[np.isfinite(fitness[alive])]
    floor = fitness[reference].min() if len(reference) else np.inf
    for stopped, met in reversed(lost):
        own = _means(items, stopped, met)
        if len(reference) and len(stopped):
            own += (fitness[reference] - _means(items, reference, met)).mean()
        fitness[stopped] = np.minimum(own, floor)
        finite = fitness[stopped][np.isfinite(fitness[stopped])]
        floor = min(floor, finite.min()) if len(finite) else floor
    return fitness.astype(np.float32)


def _means(
    items: Items, members: Int[np.ndarray, " some"], met: Bool[np.ndarray, " items"]
) -> Float[np.ndarray, " some"]:
    """The mean of each member over the items met; nan where a result is not finite."""
    return items[np.ix_(members, met)].mean(axis=1, dtype=np.float64)
