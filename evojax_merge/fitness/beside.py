"""Tasks that look at the answers that models write for another task beside them.

Models write these once. Such a task has no program of its own and no data of its own.
"""

import abc
import copy
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int, Integer

from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.base import Batch, Measure, Task
from evojax_merge.fitness.text import SPLITS


class BesideTask(abc.ABC):
    """A task that measures the answers of another task of ``fitness=several``.

    Args:
        name: What results tables call the task.
        of: The name of the task whose answers are measured; by default, that of the only one of
            which models write answers.

    Attributes:
        measure: What the results are.
        source: The task whose answers are measured; None until the others are known.
    """

    measure: Measure

    def __init__(self, name: str, of: str | None = None) -> None:
        self.name, self.of = name, of
        self.current_split = "search"
        self.source: Task | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of the other task."""
        return tuple(SPLITS) if self.source is None else self.source.splits

    def __len__(self) -> int:
        return len(self._known_source())

    @property
    def repeated(self) -> int:
        """How many items of the current split are items of an earlier one too."""
        return getattr(self.source, "repeated", 0)

    def on(self, split: str) -> Self:
        """The same task on the items of another split.

        Raises:
            ValueError: There is no data for that split.
        """
        task = copy.copy(self)
        task.current_split = split
        task.source = None if self.source is None else self.source.on(split)
        return task

    def beside(self, others: Mapping[str, Task]) -> Self:
        """The same task, with the task whose answers it measures.

        Args:
            others: All tasks by name.

        Raises:
            ValueError: The task is not among them, or it is not known which one is meant.
        """
        written = [name for name, one in others.items() if getattr(one, "writes_answers", False)]
        if self.of is None and len(written) != 1:
            found = ", ".join(written) or "none"
            raise ValueError(
                f"{self.name}: measures the answers of a task beside it, and those of which models "
                f"write answers are: {found}; name one as fitness.tasks.{self.name}.of"
            )
        name = written[0] if self.of is None else self.of
        if name not in written:
            raise ValueError(
                f"{self.name}: of is {name!r}, and models write answers of "
                f"{', '.join(written) or 'none of the tasks'}{nearest(name, written)}"
            )
        task = copy.copy(self)
        task.source = others[name]
        return task

    def bind(self, model: Any) -> "BoundBeside":
        """Make the task ready for models like this one, by itself.

        Raises:
            ValueError: There is no other task.
        """
        return self.bound(self._known_source().bind(model), model)

    @abc.abstractmethod
    def bound(self, source: Any, model: Any) -> "BoundBeside":
        """Make the task ready beside the other one, which is bound.

        Raises:
            ValueError: Models like this one cannot be measured so.
        """

    def _known_source(self) -> Task:
        if self.source is None:
            raise ValueError(
                f"{self.name}: measures the answers of another task, so that there must be one, as "
                f"'fitness=[generation,{self.name}]'"
            )
        return self.source


class BoundBeside(abc.ABC):
    """A task ready to measure the answers of another one.

    Args:
        source: The other task, an `evojax_merge.fitness.answering.Answers`, or assumed items.

    Attributes:
        source: The other task, whose outputs are those of this one.
    """

    def __init__(self, source: Any) -> None:
        self.source = source
        self.request = source.request

    @property
    def batches(self) -> tuple[Batch, ...]:
        """The batches of the other task."""
        return self.source.batches

    def __len__(self) -> int:
        return len(self.source)

    def beside(self, source: Any, rows: Int[np.ndarray, " chosen"]) -> Self:
        """The same task on some of its items, beside the other one on the same items."""
        del rows
        part = copy.copy(self)
        part.source = source
        return part

    def take(self, rows: Int[np.ndarray, " chosen"]) -> Self:
        """The same task on some of its items."""
        return self.beside(self.source.take(rows), rows)

    def score(
        self, outputs: Sequence[Integer[np.ndarray, "pop _ new"]]
    ) -> Float32[np.ndarray, "pop items"]:
        """The results of a population for each item."""
        found = np.zeros((len(outputs[0]), len(self)), np.float32)
        for rows, tokens in zip(self.source.rows, outputs, strict=True):
            written = np.asarray(tokens)
            found[:, rows] = self._results(written, self._lengths(written), rows)
        return found

    @abc.abstractmethod
    def _results(
        self,
        tokens: Integer[np.ndarray, "pop batch new"],
        lengths: Int[np.ndarray, "pop batch"],
        rows: Int[np.ndarray, " batch"],
    ) -> Float32[np.ndarray, "pop batch"]:
        """The results of answers.

        Args:
            tokens: The answers.
            lengths: How many tokens each has before its end.
            rows: The items that they answer.
        """

    def _lengths(
        self, tokens: Integer[np.ndarray, "pop batch new"]
    ) -> Int[np.ndarray, "pop batch"]:
        ended = np.isin(tokens, self.request.eos_ids)
        return np.where(ended.any(-1), ended.argmax(-1), tokens.shape[-1])

    def details(
        self, outputs: Sequence[Integer[np.ndarray, "pop _ new"]], candidate: int = 0
    ) -> list[dict[str, Any]]:
        """The result of each item."""
        scores = self.score([np.asarray(one)[candidate][None] for one in outputs])[0]
        return [{"item": item, "result": float(one)} for item, one in enumerate(scores)]


@runtime_checkable
class Preparable(Protocol):
    """A bound task that needs something computed, or read, before it measures."""

    def prepare(self) -> None:
        """Compute it, or read it."""
        ...


def prepare(bound: Any) -> None:
    """Have a bound task, or each of several, compute or read what it needs.

    This is done once weights may be read, and before candidates take the memory of the devices.
    """
    for task in getattr(bound, "tasks", {"": bound}).values():
        if isinstance(task, Preparable):
            task.prepare()
