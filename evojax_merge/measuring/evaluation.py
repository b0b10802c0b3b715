"""What a population scored."""

from typing import NamedTuple

import numpy as np

from evojax_merge.fitness.several import Part
from evojax_merge.params.types import Float, Int


class Evaluation(NamedTuple):
    """The results of a population on the items of one split.

    Attributes:
        items: The result of every item, of which a larger one is better; nan where an item has no
            finite result, or was not measured.
        seconds: The wall time of each candidate, as its share of the time of its chunk.
        parts: The tasks that the items belong to; empty where there is one task.
        estimate: The objectives that stand for the means of the items, where not all were measured.
        spent: How many items were measured for each candidate; None where all of them were.
        error: The standard error of the fitness by the choice of items; None where there is none or
            it is not known.
    """

    items: Float[np.ndarray, "pop items"]
    seconds: Float[np.ndarray, " pop"]
    parts: tuple[Part, ...] = ()
    estimate: Float[np.ndarray, "pop objectives"] | None = None
    spent: Int[np.ndarray, " pop"] | None = None
    error: Float[np.ndarray, " pop"] | None = None

    @property
    def objectives(self) -> Float[np.ndarray, "pop objectives"]:
        """The mean over the items of each task, or its estimate."""
        if self.estimate is not None:
            return self.estimate
        slices = [part.items for part in self.parts] or [slice(None)]
        means = [self.items[:, items].mean(axis=1, dtype=np.float64) for items in slices]
        return np.stack(means, axis=1).astype(np.float32)

    @property
    def fitness(self) -> Float[np.ndarray, " pop"]:
        """The weighted sum of the objectives."""
        objectives = self.objectives
        if not self.parts:
            return objectives[:, 0]
        weights = np.array([part.weight for part in self.parts])
        return (objectives.astype(np.float64) @ weights).astype(np.float32)

    @property
    def assured(self) -> Float[np.ndarray, " pop"]:
        """The fitness less two standard errors, which compares candidates of several generations.

        Of many candidates on a few items each, the one with the highest score is the luckiest.
        """
        return self.fitness if self.error is None else self.fitness - 2 * self.error

    @property
    def item_evaluations(self) -> Int[np.ndarray, " pop"]:
        """How many items were measured for each candidate."""
        if self.spent is not None:
            return self.spent
        return np.full(len(self.items), self.items.shape[1], np.int64)

    def heard(self, hears: str) -> Float[np.ndarray, "pop ..."]:
        """What a strategy that hears ``fitness``, ``objectives`` or ``items`` is told."""
        return {"fitness": self.fitness, "objectives": self.objectives, "items": self.items}[hears]
