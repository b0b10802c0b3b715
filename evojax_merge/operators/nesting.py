"""Which of nested sets is the first that holds each element of a tensor."""

from collections.abc import Sequence

import numpy as np

from evojax_merge.operators.digits import Digit, indices, parts
from evojax_merge.operators.ordering import Cuts, words

ROUNDS = 4
"""Cuts tried one after the other for elements that share their leading bits with several."""


def first_cut(values: np.ndarray, cuts: Cuts) -> np.ndarray:
    """By element, the first of the cuts that holds it; their number where none does; uint16.

    Args:
        values: float32 ``[n]``, none negative, none NaN.
        cuts: Of these, fewer than 2**15, for counts that rise.
    """
    bits = values.view(np.uint32)
    digit = Digit.of(bits)
    last = (~cuts.threshold.view(np.uint32)).astype(np.uint64) << np.uint64(32) | cuts.cutoff
    last = np.append(last, ~np.uint64(0))
    bins = digit.keys(np.minimum(cuts.threshold.view(np.uint32), digit.top))
    # Twice the first cut that is not in a bin of greater numbers, and whether it lies in this one.
    table = 2 * np.searchsorted(bins, np.arange(digit.bins))
    table[bins] += 1
    table = table.astype(np.uint16)
    found = np.empty(bits.size, np.uint16)
    for part in parts(bits.size):
        piece = bits[part]
        step = table.take(digit.keys(piece))
        shared = np.flatnonzero((step & np.uint16(1)).astype(bool))
        step >>= np.uint16(1)
        if len(shared):
            order = words(piece.take(shared), indices(part, shared))
            step[shared] = _first(order, last, step.take(shared))
        found[part] = step
    return found


def sums_in(cuts: Cuts, first: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
    """float64 ``[weights, cuts]``: the sum of each weight over the elements that a cut holds.

    Args:
        cuts: Of some tensor.
        first: Of `first_cut`.
        weights: Arrays like the tensor.
    """
    count = len(cuts.threshold)
    sums = np.zeros((len(weights), count + 1))
    for part in parts(first.size):
        step = first[part].astype(np.int64)
        for own, weight in zip(sums, weights, strict=True):
            own += np.bincount(step, weight[part], count + 1)
    return np.cumsum(sums, axis=1)[:, :count]


def _first(order: np.ndarray, last: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The first cut from ``step`` on whose last element does not come before."""
    late = np.flatnonzero(order > last.take(step))
    for _ in range(ROUNDS):
        if not len(late):
            return step
        step[late] += 1
        late = late[order.take(late) > last.take(step.take(late))]
    step[late] = np.searchsorted(last, order.take(late))
    return step
