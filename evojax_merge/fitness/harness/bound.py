"""Requests of the harness as arrays, and what models answer given back to it."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Shaped

from evojax_merge.fitness.base import Batch
from evojax_merge.fitness.harness.answers import BoundAnswers, Limits
from evojax_merge.fitness.harness.encoding import HarnessEncoder
from evojax_merge.fitness.harness.judging import Item, judged
from evojax_merge.fitness.likelihood import Likelihood


def bound_task(
    items: Sequence[Item], encoder: HarnessEncoder, greedy: bool, limits: Limits
) -> "BoundAnswers | BoundLikelihoods":
    """Make arrays of items.

    Args:
        items: The items.
        encoder: The tokenizer of the model.
        greedy: Whether metrics ask if greedy decoding would write what is scored.
        limits: What bounds how answers are generated.

    Raises:
        ValueError: The items ask for several things, or do not fit the model.
    """
    kinds = {instance.request_type for item in items for instance in item.requests}
    if len(kinds) > 1:
        raise ValueError(
            f"{encoder.task}: this task asks for {' and '.join(sorted(kinds))} at once, and one "
            "program does one of them; name its parts one by one, or use another task"
        )
    if kinds == {"generate_until"}:
        return BoundAnswers(items, encoder, limits)
    if kinds == {"loglikelihood"}:
        instances = [instance for item in items for instance in item.requests]
        contexts, texts = zip(*(instance.args for instance in instances), strict=True)
        rows = [[pair] for pair in encoder.pairs(contexts, texts)]
    elif kinds == {"loglikelihood_rolling"}:
        rows = [encoder.windows(one.args[0]) for item in items for one in item.requests]
    else:
        raise ValueError(f"{encoder.task}: a request of a kind that is not known: {kinds}")
    flat = [row for own in rows for row in own]
    likelihood = Likelihood(flat, encoder.encoder.pad, limits.buckets, greedy=greedy)
    counts = np.array(list(map(len, rows)))
    bound = BoundLikelihoods(items, likelihood, counts, rolling=kinds == {"loglikelihood_rolling"})
    bound.check()
    return bound


class BoundLikelihoods:
    """Items whose texts are scored, one or several of each."""

    def __init__(
        self,
        items: Sequence[Item],
        likelihood: Likelihood,
        windows: Int[np.ndarray, " requests"],
        rolling: bool,
    ) -> None:
        self.request = likelihood.request
        self._items, self._likelihood, self._rolling = items, likelihood, rolling
        self._windows = windows
        self._requests = np.array([len(item.requests) for item in items])

    @property
    def batches(self) -> tuple[Batch, ...]:
        """The batches, one per length bucket."""
        return self._likelihood.batches

    def __len__(self) -> int:
        return len(self._items)

    def check(self) -> None:
        """Raise ValueError if an item cannot be judged, before anything is computed."""
        answer: Any = 0.0 if self._rolling else (0.0, False)
        self._items[0].judge.check([answer] * int(self._requests[0]))

    def take(self, rows: Int[np.ndarray, " chosen"]) -> "BoundLikelihoods":
        """The same task on some of its items."""
        requests = _spans(self._requests, rows)
        part = copy.copy(self)
        part._items = [self._items[row] for row in rows]
        part._requests = self._requests[rows]
        part._windows = self._windows[requests]
        part._likelihood = self._likelihood.take(_spans(self._windows, requests))
        return part

    def score(
        self, outputs: Sequence[Shaped[np.ndarray, "pop _ ..."]]
    ) -> Float32[np.ndarray, "pop items"]:
        """The numbers that the harness's metric makes, NaN where a likelihood is NaN."""
        values = self._likelihood.gather(outputs)
        found = np.empty((len(values), len(self)), np.float32)
        for candidate, own in enumerate(values):
            answered = self._answered(own)
            found[candidate] = judged(self._items, answered)
        sums = values if values.ndim == 2 else values[..., 0]
        broken = np.add.reduceat(np.isnan(sums), self._first_windows(), axis=-1) > 0
        return np.where(broken, np.float32(np.nan), found)

    def details(
        self, outputs: Sequence[Shaped[np.ndarray, "pop _ ..."]], candidate: int = 0
    ) -> list[dict[str, Any]]:
        """What was asked of each item, what the model said, and what the harness makes of it."""
        answered = self._answered(self._likelihood.gather(outputs)[candidate])
        return [
            {"item": number, **item.judge.record(item.place, responses)}
            for number, (item, responses) in enumerate(zip(self._items, answered, strict=True))
        ]

    def _answered(self, values: Float[np.ndarray, "rows ..."]) -> list[list[Any]]:
        """The responses to the requests of each item, as the harness's models give them."""
        responses: list[Any]
        if self._rolling:
            sums = values if values.ndim == 1 else values[:, 0]
            first = np.cumsum(self._windows) - self._windows
            responses = np.add.reduceat(sums.astype(np.float64), first).tolist()
        elif values.ndim == 1:
            responses = [(value, False) for value in values.tolist()]
        else:
            responses = [(value, bool(likeliest)) for value, likeliest in values.tolist()]
        ends = np.cumsum(self._requests).tolist()
        starts = [0, *ends[:-1]]
        return [responses[begin:end] for begin, end in zip(starts, ends, strict=True)]

    def _first_windows(self) -> Int[np.ndarray, " items"]:
        """The first row of each item."""
        ends = np.cumsum(self._windows)[np.cumsum(self._requests) - 1]
        return np.concatenate([[0], ends[:-1]])


def _spans(
    counts: Int[np.ndarray, " whole"], rows: Int[np.ndarray, " chosen"]
) -> Int[np.ndarray, " parts"]:
    """The places of the parts of some things, of which each has a number of parts in order."""
    first = np.cumsum(counts) - counts
    return np.concatenate([np.arange(first[row], first[row] + counts[row]) for row in rows])
