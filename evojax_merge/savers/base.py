"""What a rule is given to measure with, and what it gives back."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from evojax_merge.params.types import Float, Int

Items = Float[np.ndarray, "pop items"]
"""Results on all items of a split; nan where there is no finite result."""


class Measure(Protocol):
    """What measures some candidates of a generation on some items, and keeps count."""

    def __call__(
        self, candidates: Int[np.ndarray, " chosen"], rows: Int[np.ndarray, " rows"]
    ) -> Float[np.ndarray, "chosen rows"]:
        """The results of those candidates on those items."""
        ...


class Scores(NamedTuple):
    """What a rule makes of a generation.

    Attributes:
        items: What was measured.
        fitness: The fitness of each candidate, comparable within the generation; where it is None,
            the mean of all items counts.
        error: The standard error of the fitness by the choice of items, where each generation
            meets other items; None where none is known.
    """

    items: Items
    fitness: Float[np.ndarray, " pop"] | None = None
    error: Float[np.ndarray, " pop"] | None = None


class Rule(Protocol):
    """What decides which items of a generation are measured; it learns from `learn` alone."""

    def __call__(self, generation: int, count: int, measure: Measure) -> Scores:
        """Measure a generation of ``count`` candidates."""
        ...

    def learn(self, generation: int, items: Items, fitness: Float[np.ndarray, " pop"]) -> None:
        """Learn from a finished generation; on resuming, from all earlier ones again."""
        ...


class Whole:
    """The rule that measures every item for every candidate.

    Args:
        items: The number of items.
    """

    def __init__(self, items: int) -> None:
        self._rows = np.arange(items)

    def __call__(self, generation: int, count: int, measure: Measure) -> Scores:
        """Measure everything."""
        return Scores(measure(np.arange(count), self._rows))

    def learn(self, generation: int, items: Items, fitness: Float[np.ndarray, " pop"]) -> None:
        """Do nothing, since there is nothing to learn."""


def check_share(where: str, given: Any, low: float = 0.0, high: float = 1.0) -> None:
    """Raise ValueError unless a number lies strictly between two others."""
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not number or not low < given < high:
        raise ValueError(f"{where} is {given!r}; give a number between {low:g} and {high:g}")


def blank(count: int, items: int) -> Items:
    """Results of which none is known."""
    return np.full((count, items), np.nan, np.float32)


def order_of(seed: int, generation: int, blocks: int) -> Sequence[int]:
    """Blocks in a random order, the same again for the same generation."""
    return np.random.default_rng((seed, generation)).permutation(blocks).tolist()
