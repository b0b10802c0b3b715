"""What a fitness task is: items, what a model is to do with them, and a result for each."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32, Shaped

from evojax_merge.models.request import Request


class GenerateBatch(NamedTuple):
    """Prompts of one length bucket, padded on the left.

    Attributes:
        tokens: Token ids.
        start: First slot of each row that is not padding.
    """

    tokens: Int32[np.ndarray, "batch seq"]
    start: Int32[np.ndarray, "batch"]


class LoglikelihoodBatch(NamedTuple):
    """Sequences of one length bucket, padded on the left.

    Attributes:
        tokens: Token ids.
        start: First slot of each row that is not padding.
        target: True at the tokens whose log-probability given all before them is summed; never at
            the first token of a row.
    """

    tokens: Int32[np.ndarray, "batch seq"]
    start: Int32[np.ndarray, "batch"]
    target: Bool[np.ndarray, "batch seq"]


class ClassifyBatch(NamedTuple):
    """Feature vectors to classify."""

    inputs: Float32[np.ndarray, "batch features"]


class SizeBatch(NamedTuple):
    """The number of layers that the length of a path is compared with."""

    layers: Int32[np.ndarray, "batch"]


Batch = GenerateBatch | LoglikelihoodBatch | ClassifyBatch | SizeBatch


@runtime_checkable
class BoundTask(Protocol):
    """A task made ready for models of one tokenizer and shape.

    Attributes:
        request: What a model is to do with each batch, and what comes out of it.
        batches: One per length bucket; each is one compiled shape.
    """

    request: Request
    batches: tuple[Batch, ...]

    def __len__(self) -> int:
        """Number of items."""
        ...

    def score(
        self, outputs: Sequence[Shaped[np.ndarray, "pop ..."]]
    ) -> Float32[np.ndarray, "pop items"]:
        """Per-item results of a population, larger is better, items in the order of the data.

        Args:
            outputs: What the device program gave for each of ``batches``, in that order.
        """
        ...

    def details(
        self, outputs: Sequence[Shaped[np.ndarray, "pop ..."]], candidate: int
    ) -> list[dict[str, Any]]:
        """One record per item of what a candidate answered and how it was judged."""
        ...

    def take(self, rows: Int[np.ndarray, "chosen"]) -> "BoundTask":
        """The same task on some of its items, in the order given, in batches of known lengths."""
        ...


@runtime_checkable
class Task(Protocol):
    """Items of one split, not yet tied to a model.

    Attributes:
        name: What results tables call the task.
        split: The split the items belong to, e.g. ``search``.
        splits: The splits the task has data for.
    """

    name: str
    split: str

    @property
    def splits(self) -> tuple[str, ...]: ...

    def __len__(self) -> int:
        """Number of items in the split."""
        ...

    def on(self, split: str) -> "Task":
        """The same task on the items of another split.

        Raises:
            ValueError: There is no data for that split.
        """
        ...

    def bind(self, model: Any) -> BoundTask:
        """Make arrays of the items for models like this one.

        Args:
            model: Anything with ``tokenizer`` and ``config`` (see `evojax_merge.checkpoints`).

        Raises:
            ValueError: The model cannot be measured by this task.
        """
        ...
