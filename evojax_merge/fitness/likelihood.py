"""Sequences whose last tokens are scored, as arrays in length buckets."""

import copy
from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Float, Float32, Int

from evojax_merge.fitness.base import LoglikelihoodBatch
from evojax_merge.fitness.encoder import (
    Bucket,
    fitting_bucket,
    pad_left,
    plan_buckets,
    shared_prefix,
)
from evojax_merge.models.request import Loglikelihood


class Likelihood:
    """Rows of token ids with the number of leading ones that are context.

    Attributes:
        batches: The batches, one per length bucket.
        counts: The number of scored tokens of each row.
        request: What a model is to do.
        pad: The padding token.
    """

    def __init__(self, rows: Sequence[tuple[Sequence[int], int]], pad: int, buckets: int) -> None:
        self.counts: Int[np.ndarray, " rows"] = np.array([len(ids) - known for ids, known in rows])
        self.request = Loglikelihood(shared_prefix(rows))
        self._sequences = [ids for ids, _ in rows]
        self.pad = pad
        self._fill(plan_buckets(list(map(len, self._sequences)), buckets, -self.request.prefix))

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
        part._fill((fitting_bucket(list(map(len, part._sequences)), self.batches),))
        return part

    def _fill(self, plan: Sequence[Bucket]) -> None:
        self._rows = tuple(bucket.rows for bucket in plan)
        batches = []
        for chosen, length in plan:
            tokens, start = pad_left([self._sequences[row] for row in chosen], length, self.pad)
            target = np.arange(length) >= length - self.counts[chosen][:, None]
            batches.append(LoglikelihoodBatch(tokens, start, target))
        self.batches = tuple(batches)

    def gather(
        self, outputs: Sequence[Float[np.ndarray, "pop _"]]
    ) -> Float32[np.ndarray, "pop rows"]:
        """The values of all buckets, put back into the order of the rows."""
        values = np.empty((len(outputs[0]), len(self.counts)), np.float32)
        for rows, output in zip(self._rows, outputs, strict=True):
            values[:, rows] = np.asarray(output)
        return values
