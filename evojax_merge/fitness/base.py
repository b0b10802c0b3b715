"""What a fitness task is: items, what a model is to do with them, and a result for each."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32, Shaped, UInt8, UInt32

from evojax_merge.models.ability import Common, PerItem
from evojax_merge.models.request import Request


class GenerateBatch(NamedTuple):
    """Prompts of one length bucket, padded on the left.

    Attributes:
        tokens: The token ids.
        start: The first slot of each row that is not padding.
    """

    tokens: Int32[np.ndarray, "batch seq"]
    start: Int32[np.ndarray, " batch"]


class LoglikelihoodBatch(NamedTuple):
    """Sequences of one length bucket, padded on the left.

    Attributes:
        tokens: The token ids.
        start: The first slot of each row that is not padding.
        target: Which tokens are summed over, by their log-probability given all before them; never
            the first token of a row.
    """

    tokens: Int32[np.ndarray, "batch seq"]
    start: Int32[np.ndarray, " batch"]
    target: Bool[np.ndarray, "batch seq"]


class SeenBatch(tuple[Any, ...]):
    """Text with pictures: the fields of the text, and those of the pictures after them.

    Tokens of the text have the picture token in the place of each feature.

    Attributes:
        text: The text alone.
        pictures: The fields of each row's pictures, as `evojax_merge.models.request.Sight` says.
    """

    text: GenerateBatch | LoglikelihoodBatch
    pictures: tuple[Any, ...]

    def __new__(cls, text: GenerateBatch | LoglikelihoodBatch, *pictures: Any) -> Self:
        batch = super().__new__(cls, (*text, *pictures))
        batch.text, batch.pictures = text, pictures
        return batch


class ClassifyBatch(NamedTuple):
    """Feature vectors to classify."""

    inputs: Float32[np.ndarray, "batch features"]


class PictureBatch(NamedTuple):
    """Prepared pictures, and what all of them have in common.

    Attributes:
        pictures: The pictures, as whole numbers from 0 to 255.
        pixels: How they become what a model reads, a `evojax_merge.models.request.Pixels`.
        classes: The classes to tell apart, a `evojax_merge.models.request.Prompts` or a `Head`.
    """

    pictures: UInt8[np.ndarray, "batch channels height width"]
    pixels: Common
    classes: Common


class DrawBatch(NamedTuple):
    """Prompts to draw.

    Attributes:
        conditions: What the text encoders made of the prompts before the search, an
            `evojax_merge.models.diffusion.conditions.Conditions`; or, where candidates have text
            encoders of their own, the `PromptTokens` that these read.
        seeds: The number that fixes the noise of each picture.
        judged: A tuple of the arrays that the judge reads, of which each has a row for each
            picture. It is empty where the judge reads the pictures alone.
        drawing: What all of them have in common, an `evojax_merge.models.request.Drawing`.
    """

    conditions: PerItem
    seeds: UInt32[np.ndarray, " batch"]
    judged: PerItem
    drawing: Common


class SizeBatch(NamedTuple):
    """The number of layers that the length of a path is compared with."""

    layers: Int32[np.ndarray, " batch"]


class DistanceBatch(NamedTuple):
    """The weights that those of a candidate are compared with.

    Attributes:
        rows: One row, which says nothing.
        base: The weights, a tree.
    """

    rows: Int32[np.ndarray, " batch"]
    base: Common


class HandedBatch(NamedTuple):
    """The places of the numbers that a function on the host gives; no program reads them."""

    numbers: Int32[np.ndarray, " batch"]


Batch = (
    GenerateBatch
    | LoglikelihoodBatch
    | SeenBatch
    | ClassifyBatch
    | PictureBatch
    | DrawBatch
    | SizeBatch
    | DistanceBatch
    | HandedBatch
)


FRACTION = "fraction"
"""The unit of numbers between 0 and 1, which people read in per cent."""


class Measure(NamedTuple):
    """What the results of a task are. A larger result is better, whatever is measured.

    Attributes:
        name: What is measured, e.g. ``accuracy``.
        unit: The unit of the numbers as they are computed and as files hold them.
        sampled: Whether the mean over the items stands for more items of their kind, and so has an
            interval; a size, for instance, is known exactly.
    """

    name: str
    unit: str
    sampled: bool = True

    @property
    def factor(self) -> float:
        """How many of the units that people read make one of the numbers."""
        return 100.0 if self.unit == FRACTION else 1.0

    @property
    def head(self) -> str:
        """The name and the unit that people read."""
        return f"{self.name}, {'%' if self.unit == FRACTION else self.unit}"

    def text(self, value: float) -> str:
        """A number in the unit that people read; a dash where there is none."""
        if not math.isfinite(value):
            return "–"
        shown = self.factor * value
        return f"{shown:.1f}" if self.unit == FRACTION else f"{shown:.4g}"


ACCURACY = Measure("accuracy", FRACTION)


@runtime_checkable
class BoundTask(Protocol):
    """A task made ready for models of one tokenizer and shape.

    Attributes:
        request: What a model is to do with each batch, and what comes out of it.
        batches: The batches, one per length bucket; each is one compiled shape.
    """

    request: Request
    batches: tuple[Batch, ...]

    def __len__(self) -> int:
        """The number of items."""
        ...

    def score(
        self, outputs: Sequence[Shaped[np.ndarray, "pop ..."]]
    ) -> Float32[np.ndarray, "pop items"]:
        """The results of a population for each item, in the order of the data; larger is better.

        Args:
            outputs: What the device program gave for each of ``batches``, in that order.
        """
        ...

    def details(
        self, outputs: Sequence[Shaped[np.ndarray, "pop ..."]], candidate: int
    ) -> list[dict[str, Any]]:
        """One record per item of what a candidate answered and how it was judged."""
        ...

    def take(self, rows: Int[np.ndarray, " chosen"]) -> "BoundTask":
        """The same task on some of its items, in the order given, in batches of known lengths."""
        ...


def is_divisible(bound: BoundTask) -> bool:
    """Whether results on some of the items say something of all, as nearly always.

    A task of which they do not has an attribute ``divisible`` that is false.
    """
    return bool(getattr(bound, "divisible", True))


@runtime_checkable
class Task(Protocol):
    """Items of one split, not yet tied to a model.

    Attributes:
        name: What results tables call the task.
        current_split: The split the items belong to, e.g. ``search``.
        measure: What the results of the items are.
        splits: The splits the task has data for.
    """

    name: str
    current_split: str

    @property
    def measure(self) -> Measure: ...

    @property
    def splits(self) -> tuple[str, ...]: ...

    def __len__(self) -> int:
        """The number of items in the split."""
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


def check_task(task: Any, where: str) -> None:
    """Raise if an object is no task; an object from elsewhere may be one in part only.

    Args:
        task: The object.
        where: The key that describes it.

    Raises:
        ValueError: The object lacks something that a `Task` has.
    """
    parts = ("name", "current_split", "measure", "splits", "on", "bind", "__len__")
    missing = [part for part in parts if not hasattr(task, part)]
    if missing:
        raise ValueError(
            f"{where}: a {type(task).__name__} is no fitness task, it has no {', '.join(missing)}; "
            "see evojax_merge.fitness.Task"
        )
