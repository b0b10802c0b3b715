"""Objectives of a model as a whole: one number each, whatever the items."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float32, Int

SPLITS = ("search", "validation", "test")


class WholeModelTask:
    """A task whose one number is the same on every split.

    Args:
        name: What results tables call the task.
    """

    splits = SPLITS

    def __init__(self, name: str) -> None:
        self.name, self.current_split = name, "search"

    def __len__(self) -> int:
        return 1

    def on(self, split: str) -> Self:
        """The same task, since a model has no splits.

        Raises:
            ValueError: There is no such split.
        """
        if split not in SPLITS:
            raise ValueError(f"{self.name}: no split {split!r}; the splits are {', '.join(SPLITS)}")
        task = copy.copy(self)
        task.current_split = split
        return task


class BoundWholeModel:
    """A task for one model, whose number is less where the model is better.

    Attributes:
        key: What the details call the number.
    """

    key: ClassVar[str]

    def __len__(self) -> int:
        return 1

    def score(
        self, outputs: Sequence[Float32[np.ndarray, "pop batch"]]
    ) -> Float32[np.ndarray, "pop items"]:
        """Minus the number."""
        return -np.asarray(outputs[0], np.float32)

    def details(
        self, outputs: Sequence[Float32[np.ndarray, "pop batch"]], candidate: int = 0
    ) -> list[Mapping[str, Any]]:
        """The number."""
        return [{"item": 0, self.key: float(outputs[0][candidate, 0])}]

    def take(self, rows: Int[np.ndarray, " chosen"]) -> Self:
        """The same task, since there is one item only."""
        del rows
        return self
