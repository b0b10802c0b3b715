"""What is measured of genotypes after a search, each once on each split."""

from collections.abc import Callable, Mapping

import numpy as np

from evojax_merge.fitness.several import parts_of
from evojax_merge.measuring.evaluation import Evaluation
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.params.types import Float


class Heldout:
    """Objectives by genotype and split.

    Args:
        evaluator: What measures genotypes.
        interrupted: A function that is called between chunks and may raise to leave.
    """

    def __init__(self, evaluator: Evaluator, interrupted: Callable[[], None]) -> None:
        self._evaluator, self._interrupted = evaluator, interrupted
        self._known: dict[tuple[str, bytes], np.ndarray] = {}
        self._items: dict[tuple[str, bytes], np.ndarray] = {}

    @property
    def splits(self) -> list[str]:
        """The splits that there are, the furthest from the search first."""
        return [s for s in ("test", "validation", "search") if s in self._evaluator.tasks]

    def add(
        self,
        genotypes: Float[np.ndarray, "n dims"],
        split: str,
        objectives: Float[np.ndarray, "n objectives"],
    ) -> None:
        """Keep what was measured elsewhere."""
        for genotype, known in zip(genotypes, objectives, strict=True):
            self._known[_key(split, genotype)] = known

    def objectives(
        self, genotypes: Float[np.ndarray, "n dims"], split: str
    ) -> Float[np.ndarray, "n objectives"]:
        """The means of each task over a split."""
        return self._recall(self._known, genotypes, split)

    def items(
        self, genotypes: Float[np.ndarray, "n dims"], split: str
    ) -> Float[np.ndarray, "n items"]:
        """The results of every item of a split."""
        return self._recall(self._items, genotypes, split)

    def fitness(
        self, genotypes: Float[np.ndarray, "n dims"], split: str
    ) -> Float[np.ndarray, " n"]:
        """The weighted sum of the objectives."""
        parts = parts_of(self._evaluator.tasks[split])
        objectives = self.objectives(genotypes, split)
        return Evaluation(objectives, objectives[:, 0], parts, objectives).fitness

    def _recall(
        self,
        known: Mapping[tuple[str, bytes], np.ndarray],
        genotypes: Float[np.ndarray, "n dims"],
        split: str,
    ) -> np.ndarray:
        """What is known of each genotype, after those of which nothing is known were measured."""
        keys = [_key(split, genotype) for genotype in genotypes]
        new = {key: place for place, key in reversed(list(enumerate(keys))) if key not in known}
        if new:
            chosen = genotypes[sorted(new.values())]
            found = self._evaluator(chosen, split, self._interrupted)
            self.add(chosen, split, found.objectives)
            for genotype, items in zip(chosen, found.items, strict=True):
                self._items[_key(split, genotype)] = items
        return np.stack([known[key] for key in keys])


def _key(split: str, genotype: Float[np.ndarray, " dims"]) -> tuple[str, bytes]:
    return split, np.asarray(genotype, np.float32).tobytes()
