"""How short a model is, an objective of data-flow merges beside others."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from evojax_merge.fitness.base import Batch, Measure, SizeBatch
from evojax_merge.models.request import CountLayers

SPLITS = ("search", "validation", "test")


class SizeTask:
    """Minus the number of layers that a token passes, relative to the model measured against.

    A path through a pool with as many hops as its skeleton has layers scores -1, and one of half
    as many scores -0.5. All merges in parameter space are of one size, so there it is no objective.

    Args:
        name: What results tables call the task.
    """

    splits = SPLITS
    measure = Measure("minus size", "share of the skeleton's layers", sampled=False)

    def __init__(self, name: str = "size") -> None:
        self.name = name
        self.current_split = "search"

    def __len__(self) -> int:
        return 1

    def on(self, split: str) -> "SizeTask":
        """The same task, since a model's size has no splits.

        Raises:
            ValueError: There is no such split.
        """
        if split not in SPLITS:
            raise ValueError(f"{self.name}: no split {split!r}; the splits are {', '.join(SPLITS)}")
        task = copy.copy(self)
        task.current_split = split
        return task

    def bind(self, model: Any) -> "BoundSize":
        """Make the task ready for models like this one.

        Raises:
            ValueError: The model has no layers to count.
        """
        family = getattr(model, "family", None)
        layers = family.layout(model.config).depth() if family is not None else 0
        if not layers:
            raise ValueError(f"{self.name}: this task counts a decoder's layers")
        return BoundSize(layers)


class BoundSize:
    """The layers of a model as a batch of one."""

    request = CountLayers()

    def __init__(self, layers: int) -> None:
        self.batches: tuple[Batch, ...] = (SizeBatch(np.array([layers], np.int32)),)

    def __len__(self) -> int:
        return 1

    def score(
        self, outputs: Sequence[Float32[np.ndarray, "pop batch"]]
    ) -> Float32[np.ndarray, "pop items"]:
        """Minus layers run over layers of the skeleton."""
        return -np.asarray(outputs[0], np.float32)

    def details(
        self, outputs: Sequence[Float32[np.ndarray, "pop batch"]], candidate: int = 0
    ) -> list[Mapping[str, Any]]:
        """The share of layers that are run."""
        return [{"item": 0, "layers": float(outputs[0][candidate, 0])}]

    def take(self, rows: Int[np.ndarray, " chosen"]) -> "BoundSize":
        """The same task, since there is one item only."""
        return self
