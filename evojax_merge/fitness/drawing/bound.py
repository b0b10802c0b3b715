"""Prompts as batches, and the scores of what a population drew of them."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int, Shaped, UInt8

from evojax_merge.fitness.base import Batch
from evojax_merge.fitness.drawing.drawings import Drawings
from evojax_merge.fitness.drawing.judge import BLACK, NOT_FINITE, SOUND, Judge, judge_of
from evojax_merge.fitness.drawing.score import BoundScore
from evojax_merge.models.pieces import in_pieces
from evojax_merge.params.types import Array, Float

FLAWS = {SOUND: None, BLACK: "black", NOT_FINITE: "not finite"}

_ROWS = 16
"""How many pictures are judged at a time that have left the device."""


class BoundDrawings:
    """The items of a task, or some of them, and what is measured of their pictures.

    Where all scores are read off networks, they are computed in the program that draws. Where one
    is a function of the user's own, the pictures leave the device.

    Args:
        drawings: All items of the split, ready to be drawn.
        score: What is measured.
        whole: Whether there is one result for all pictures together.
        shown: How many items people are shown.
        rows: The places of the items; by default, all.
        others: Further scores that are computed of the same pictures, for tasks beside this one.

    Attributes:
        drawings: All items of the split.
        request: What a model is to do.
        shown: How many items people are shown.
        divisible: Whether a part of the items says something of all.
    """

    def __init__(
        self,
        drawings: Drawings,
        score: BoundScore,
        whole: bool,
        shown: int,
        rows: Int[np.ndarray, " items"] | None = None,
        others: Sequence[BoundScore] = (),
    ) -> None:
        self.drawings, self._score = drawings, score
        self.divisible, self.shown = not whole, shown
        self._rows = np.arange(len(drawings.items)) if rows is None else rows
        self._scores = (score, *others)
        self._judge, self._networks = judge_of(self._scores)
        self._on_device = all(one.reader is not None for one in self._scores)
        size = drawings.pipeline.size
        self.request = drawings.pipeline.request(
            self._judge if self._on_device else None, self._judge.bytes(*size)
        )
        self._groups = drawings.groups(self._rows)

    def __len__(self) -> int:
        return len(self._rows) if self.divisible else 1

    @functools.cached_property
    def batches(self) -> tuple[Batch, ...]:
        """The batches, one for each negative prompt."""
        fields = tuple(field for one in self._scores for field in one.fields)
        judge = self._params if self._on_device else None
        return tuple(
            self.drawings.batch(
                self._rows[places], negative, fields if self._on_device else (), judge
            )
            for negative, places in self._groups
        )

    def score(
        self, outputs: Sequence[Shaped[np.ndarray, "pop ..."]]
    ) -> Float32[np.ndarray, "pop items"]:
        """The results of the pictures; one that is black or not finite scores the worst."""
        flaws, values = self._seen(outputs)
        results = self._score.results(values[0], self._rows)
        if self.divisible:
            results = np.where(flaws == SOUND, results, self._score.worst)
        return results.astype(np.float32)

    def details(
        self, outputs: Sequence[Shaped[np.ndarray, "pop ..."]], candidate: int = 0
    ) -> list[dict[str, Any]]:
        """What was drawn of each item, whether it can be looked at, and its score."""
        mine = [output[candidate : candidate + 1] for output in outputs]
        flaws, values = self._seen(mine)
        results = self.score(mine)[0]
        found = []
        for place, row in enumerate(self._rows):
            record = {"item": int(row), **self.drawings.describe(row)}
            record["flaw"] = FLAWS[int(flaws[0, place])]
            if self._score.reader is not None:
                record |= self._score.record(values[0][0, place], row)
            found.append(record | ({"score": float(results[place])} if self.divisible else {}))
        return found

    def flawed(self, outputs: Sequence[Shaped[np.ndarray, "pop ..."]]) -> Int[np.ndarray, " pop"]:
        """How many pictures of each candidate are black or not finite."""
        return (self._seen(outputs)[0] != SOUND).sum(axis=1)

    def take(self, rows: Int[np.ndarray, " chosen"]) -> Self:
        """The same task on some of its items.

        Raises:
            ValueError: There is one result for all items together.
        """
        if not self.divisible:
            raise ValueError(
                "a distance between all pictures and references cannot be measured on some of them"
            )
        return type(self)(self.drawings, self._score, False, self.shown, self._rows[rows])

    def alike(self, other: Any) -> bool:
        """Whether another task draws the same pictures."""
        return (
            isinstance(other, BoundDrawings)
            and np.array_equal(self._rows, other._rows)
            and self.drawings.alike(other.drawings)
        )

    def joined(self, others: Sequence["BoundDrawings"]) -> "BoundDrawings":
        """This task, which draws for tasks that are alike, too. `share` gives each its outputs."""
        scores = [other._score for other in others]
        whole = not self.divisible
        return type(self)(self.drawings, self._score, whole, self.shown, self._rows, scores)

    def share(
        self, outputs: Sequence[Shaped[np.ndarray, "pop ..."]]
    ) -> Iterator[list[Shaped[np.ndarray, "pop ..."]]]:
        """The outputs of this task and of those that it was joined with, as if each were alone."""
        flaws, values = self._seen(outputs)
        for one, own in zip(self._scores, values, strict=True):
            if one.reader is not None:
                own = np.concatenate([flaws[..., None].astype(np.float32), own], axis=2)
            yield [own[:, places] for _, places in self._groups]

    def _seen(
        self, outputs: Sequence[Shaped[np.ndarray, "pop ..."]]
    ) -> tuple[Int[np.ndarray, "pop items"], list[Shaped[np.ndarray, "pop items ..."]]]:
        """What is wrong with each picture, and what each score goes by."""
        first = outputs[0]
        given = np.empty((len(first), len(self._rows), *first.shape[2:]), first.dtype)
        for (_, places), output in zip(self._groups, outputs, strict=True):
            given[:, places] = output
        columns = given if self._on_device else self._judged(given)
        values: list[np.ndarray] = []
        begin = 1
        for one in self._scores:
            if one.reader is None:
                values.append(given)
            else:
                values.append(columns[..., begin : begin + one.reader.columns])
                begin += one.reader.columns
        return columns[..., 0].astype(np.int64), values

    @property
    def _params(self) -> Any:
        """The parameters of the networks and of the readers."""
        readers = tuple(one.params for one in self._scores if one.reader is not None)
        return tuple(network.params for network in self._networks), readers

    def _judged(
        self, pictures: UInt8[np.ndarray, "pop items height width 3"]
    ) -> Float32[np.ndarray, "pop items columns"]:
        """The judge's numbers of pictures that have left the device."""
        fields = [np.asarray(f)[self._rows] for one in self._scores for f in one.fields]
        run, params = _program(self._judge), self._params
        return np.stack([np.asarray(run(params, own, *fields)) for own in pictures])


@functools.lru_cache(maxsize=8)
def _program(judge: Judge) -> Any:
    """A judge as a program on pictures as they are in files, a few at a time."""

    def run(
        params: Any, pictures: UInt8[Array, "items height width 3"], *fields: Array
    ) -> Float[Array, "items columns"]:
        def own(rows: Int[Array, " rows"]) -> Float[Array, "rows columns"]:
            shown = jnp.moveaxis(pictures[rows], -1, 1).astype(jnp.float32) / 255
            return judge(params, shown, *(field[rows] for field in fields))

        return in_pieces(own, jnp.arange(len(pictures)), _ROWS)

    return jax.jit(run)
