"""Sequences whose last tokens are scored, as arrays in length buckets."""

import copy
import functools
from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Float, Float32, Int

from evojax_merge.fitness.base import (
    Batch,
    LoglikelihoodBatch,
    SeenBatch,
)
from evojax_merge.fitness.encoder import (
    Bucket,
    before_features,
    fitting_bucket,
    pad_left,
    plan_buckets,
    shared_prefix,
)
from evojax_merge.fitness.picture_fields import PictureFields
from evojax_merge.models.request import Loglikelihood


class Likelihood:
    """Rows of token ids with the number of leading ones that are context.

    Args:
        rows: The token ids of each row, and how many of the first are context.
        pad: The padding token.
        buckets: The largest number of padded lengths.
        pictures: The pictures of the rows and the token that stands for a feature, if there are
            some. Features are computed when ``batches`` is first read.
        greedy: Whether it is asked, too, if greedy decoding would write what is scored.

    Attributes:
        text: The batches without pictures, one per length bucket.
        counts: The number of scored tokens of each row.
        request: What a model is to do.
        pad: The padding token.
    """

    def __init__(
        self,
        rows: Sequence[tuple[Sequence[int], int]],
        pad: int,
        buckets: int,
        pictures: tuple[PictureFields, int] | None = None,
        greedy: bool = False,
    ) -> None:
        self.counts: Int[np.ndarray, " rows"] = np.array([len(ids) - known for ids, known in rows])
        self._pictures = None if pictures is None else pictures[0]
        token_id = None if pictures is None else pictures[1]
        alike = [(ids, min(known, before_features(ids, token_id) + 1)) for ids, known in rows]
        self.request = Loglikelihood(shared_prefix(alike), token_id, greedy)
        self._original = np.arange(len(rows))
        self._sequences = [ids for ids, _ in rows]
        self.pad = pad
        self._fill(plan_buckets(list(map(len, self._sequences)), buckets, -self.request.prefix))

    def require_text(self, task: str) -> None:
        """Raise ValueError if rows have pictures, of which gradients are not followed."""
        if self._pictures is not None:
            raise ValueError(
                f"{task}: strategies that follow the likelihood of right answers read no pictures; "
                "use another strategy, or strategy.objective=entropy"
            )

    @functools.cached_property
    def batches(self) -> tuple[Batch, ...]:
        """The batches, one per length bucket."""
        if self._pictures is None:
            return self.text
        return tuple(
            self._seen(self._pictures, batch, rows)
            for rows, batch in zip(self._rows, self.text, strict=True)
        )

    @property
    def rows(self) -> list[tuple[Sequence[int], int]]:
        """Token ids of each row, and how many of them are context."""
        known = [len(ids) - int(own) for ids, own in zip(self._sequences, self.counts, strict=True)]
        return list(zip(self._sequences, known, strict=True))

    def take(self, chosen: Int[np.ndarray, " chosen"]) -> Self:
        """Some of the rows, in one bucket of a length that there is already."""
        part = copy.copy(self)
        part.counts = self.counts[chosen]
        part._sequences = [self._sequences[row] for row in chosen]
        part._original = self._original[chosen]
        part._fill((fitting_bucket(list(map(len, part._sequences)), self.text),))
        return part

    def _fill(self, plan: Sequence[Bucket]) -> None:
        self._rows = tuple(bucket.rows for bucket in plan)
        batches = []
        for chosen, length in plan:
            tokens, start = pad_left([self._sequences[row] for row in chosen], length, self.pad)
            target = np.arange(length) >= length - self.counts[chosen][:, None]
            batches.append(LoglikelihoodBatch(tokens, start, target))
        self.__dict__.pop("batches", None)
        self.text: tuple[LoglikelihoodBatch, ...] = tuple(batches)

    def _seen(
        self, pictures: PictureFields, text: LoglikelihoodBatch, rows: Int[np.ndarray, " batch"]
    ) -> Batch:
        fields = pictures.fields(self._original[rows], text.tokens.shape[1])
        return SeenBatch(text, *fields)

    def gather(
        self, outputs: Sequence[Float[np.ndarray, "pop _ ..."]]
    ) -> Float32[np.ndarray, "pop rows ..."]:
        """The values of all buckets, put back into the order of the rows."""
        pop, _, *each = outputs[0].shape
        values = np.empty((pop, len(self.counts), *each), np.float32)
        for rows, output in zip(self._rows, outputs, strict=True):
            values[:, rows] = np.asarray(output)
        return values
