"""Pictures that people look at: those of the first items of a task, as files have them."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Float32, Int, Shaped, UInt8

from evojax_merge.fitness.base import Batch
from evojax_merge.fitness.drawing.bound import BoundDrawings
from evojax_merge.fitness.drawing.drawings import Drawings
from evojax_merge.fitness.several import tasks_of


class Drawn(NamedTuple):
    """A picture that was drawn.

    Attributes:
        pixels: The picture.
        record: Its prompt and what else it was drawn by.
    """

    pixels: UInt8[np.ndarray, "height width 3"]
    record: Mapping[str, Any]


class ShownDrawings:
    """Some items whose pictures leave the device; a task that measures nothing.

    Args:
        drawings: The items of a split, ready to be drawn.
        rows: The places of those that are shown.

    Attributes:
        request: What a model is to do.
    """

    def __init__(self, drawings: Drawings, rows: Int[np.ndarray, " items"]) -> None:
        self._drawings, self._rows = drawings, rows
        self.request = drawings.pipeline.request(None, 0)
        self._groups = drawings.groups(rows)

    @functools.cached_property
    def batches(self) -> tuple[Batch, ...]:
        """The batches, one for each negative prompt."""
        return tuple(
            self._drawings.batch(self._rows[places], negative, (), None)
            for negative, places in self._groups
        )

    def __len__(self) -> int:
        return len(self._rows)

    def score(
        self, outputs: Sequence[Shaped[np.ndarray, "pop ..."]]
    ) -> Float32[np.ndarray, "pop items"]:
        """Zeros, since nothing is measured."""
        return np.zeros((len(outputs[0]), len(self)), np.float32)

    def details(
        self, outputs: Sequence[Shaped[np.ndarray, "pop ..."]], candidate: int = 0
    ) -> list[dict[str, Any]]:
        """What each picture was drawn by."""
        return [dict(one.record) for one in self.pictures(outputs, candidate)]

    def take(self, rows: Int[np.ndarray, " chosen"]) -> Self:
        """The same on some of the items."""
        return type(self)(self._drawings, self._rows[rows])

    def pictures(
        self, outputs: Sequence[UInt8[np.ndarray, "pop _ height width 3"]], candidate: int = 0
    ) -> list[Drawn]:
        """The pictures of a candidate, in the order of the items."""
        found: dict[int, Drawn] = {}
        sampling = self._drawings.pipeline.sampling.as_dict()
        for (_, places), output in zip(self._groups, outputs, strict=True):
            for place, pixels in zip(places, output[candidate], strict=True):
                record = self._drawings.describe(self._rows[place])
                found[int(place)] = Drawn(np.asarray(pixels), record | {"drawing": sampling})
        return [found[place] for place in range(len(self))]


def drawn_by(bound: Any) -> Iterator[BoundDrawings]:
    """The tasks among those that a task consists of whose programs draw."""
    runs: Iterable[Any] = tasks_of(bound)
    return (one for one in runs if isinstance(one, BoundDrawings))


def shown_of(bound: Any, *, every: bool = False) -> ShownDrawings | None:
    """The first items of a task that draws, or of the first one of several, to look at.

    Args:
        bound: The task.
        every: Whether all items are shown, and not only as many as the task says.

    Returns:
        The items; None where nothing is drawn, or nothing shown.
    """
    first = next(drawn_by(bound), None)
    if first is None or not (every or first.shown):
        return None
    rows = np.arange(len(first.drawings.items))
    return ShownDrawings(first.drawings, rows if every else rows[: first.shown])


def flawed(bound: Any, outputs: Sequence[Shaped[np.ndarray, "pop ..."]]) -> int | None:
    """How many of the pictures of one candidate are black or not finite; None where none are drawn.

    Args:
        bound: The task.
        outputs: What its programs gave for each batch.
    """
    counts: list[int] = []
    first = 0
    for one in tasks_of(bound):
        last = first + len(one.batches)
        if isinstance(one, BoundDrawings):
            counts.append(int(one.flawed(outputs[first:last])[0]))
        first = last
    return sum(counts) if counts else None
