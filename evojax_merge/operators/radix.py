"""Selection of many order statistics at once, without sorting a tensor.

A histogram of leading bits, fine enough that few elements share theirs with a number asked for;
those are sorted. Where many do because they are equal (task vectors of bfloat16, or zeros), a
second histogram, of their ranks, again leaves few. A tensor is read two or three times.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from evojax_merge.operators.digits import Digit, indices, parts, sample, starts
from evojax_merge.operators.ordering import ALL, Cuts, cuts_at, rank, words

FEW = 8
"""Of n elements, those left are sorted if they are at most n / FEW."""

BINS_PER_CUT = 64
"""Of the ranks of equal elements: one in so many is sorted."""


def radix_select(values: np.ndarray, counts: np.ndarray) -> Cuts:
    """Find the c-th greatest number for every count.

    Args:
        values: float32 ``[n]``, none negative, none NaN.
        counts: Integers from 1 to n that rise.
    """
    bits = values.view(np.uint32)
    digit = Digit.of(bits)
    histogram = np.zeros(digit.bins, np.uint32)
    for part in parts(bits.size):
        np.add.at(histogram, digit.keys(bits[part]), np.uint32(1))
    bucket, left = _locate(histogram, counts)
    wanted, owner = np.unique(bucket, return_inverse=True)
    size = histogram[wanted].astype(np.int64)
    if size.sum() * FEW > bits.size:
        return _among_equals(bits, digit, wanted, size, owner, left)
    ordered = np.concatenate(list(_words_in(bits, digit, wanted)))
    ordered.sort()
    return cuts_at(ordered, starts(size)[owner] + left - 1)


def _words_in(bits: np.ndarray, digit: Digit, wanted: np.ndarray) -> Iterator[np.ndarray]:
    """`words` of the elements of some bins."""
    is_wanted = np.zeros(digit.bins, bool)
    is_wanted[wanted] = True
    for part in parts(bits.size):
        piece = bits[part]
        where = np.flatnonzero(is_wanted.take(digit.keys(piece)))
        yield words(piece.take(where), indices(part, where))


class _Ranked(NamedTuple):
    """A histogram of ranks for the elements that have the usual number of their bin.

    Attributes:
        digit: Of the numbers.
        usual: Bits, by bin: of one of a sample's numbers there, usual where many are equal.
        bins: By bin of the digit: the first bin of ranks, and in the low half how many follow it.
        none: The bin of all other elements.
    """

    digit: Digit
    usual: np.ndarray
    bins: np.ndarray
    none: int

    @classmethod
    def of(cls, bits: np.ndarray, digit: Digit, wanted: np.ndarray, count: np.ndarray) -> "_Ranked":
        """With ``count`` bins for the ranks of each bin that is wanted."""
        none = int(count.sum())
        bins = np.full(digit.bins, none << 32, np.int64)
        bins[wanted] = (starts(count) << 32) | (count - 1)
        usual = np.full(digit.bins, ALL)
        some = sample(bits)
        usual[digit.keys(some)] = some
        return cls(digit, usual, bins, none)

    def keys(self, bits: np.ndarray, part: slice) -> tuple[np.ndarray, np.ndarray]:
        """int64, of each of a few elements; and where others are in bins that are wanted."""
        digits = self.digit.keys(bits)
        key = self.bins.take(digits)
        # first bin x 2**32 + (bins - 1) x (rank + 1), so that equal ones rise with their ranks.
        ranks = key & np.int64(ALL)
        ranks *= rank(np.arange(part.start, part.stop, dtype=np.uint32))
        key += ranks
        key >>= 32
        others = np.flatnonzero(bits != self.usual.take(digits))
        others = others[key.take(others) != self.none]
        key[others] = self.none
        return key, others


def _among_equals(
    bits: np.ndarray,
    digit: Digit,
    wanted: np.ndarray,
    size: np.ndarray,
    owner: np.ndarray,
    left: np.ndarray,
) -> Cuts:
    """The cuts where most elements equal the usual number of their bin; the others are sorted.

    Args:
        bits: Of all numbers.
        digit: That has the bins.
        wanted: The bins in which cuts lie.
        size: Of each.
        owner: By cut, its position in ``wanted``.
        left: By cut, how many elements it takes of its bin.
    """
    count = BINS_PER_CUT * np.bincount(owner)
    ranked = _Ranked.of(bits, digit, wanted, count)
    histogram = np.zeros(ranked.none + 1, np.uint32)
    keys = np.empty(bits.size, np.int32)
    others = []
    for part in parts(bits.size):
        key, where = ranked.keys(bits[part], part)
        keys[part] = key
        np.add.at(histogram, key, np.uint32(1))
        others.append(words(bits[part].take(where), indices(part, where)))
    ordered = np.sort(np.concatenate(others))

    usual = ranked.usual[wanted]
    equal = np.add.reduceat(histogram[:-1], starts(count), dtype=np.int64)
    start = starts(size - equal)
    higher = np.searchsorted(ordered, (~usual).astype(np.uint64) << np.uint64(32)) - start
    start, equal_here, higher = start[owner], equal[owner], higher[owner]
    threshold, cutoff = usual[owner].view(np.float32), np.full(len(owner), ALL)
    among = (left <= higher) | (left > higher + equal_here)
    last = start + left - np.where(left > higher, equal_here, 0) - 1
    threshold[among], cutoff[among] = cuts_at(ordered, last[among])

    left = left - higher
    split = ~among & (left < equal_here)
    if split.any():
        before = starts(equal)[owner[split]]
        cutoff[split] = _ranks_at(keys, histogram[:-1], before + left[split])
    return Cuts(threshold, cutoff)


def _ranks_at(keys: np.ndarray, histogram: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The rank of the c-th element in the order of bins of ranks, for every count c.

    Args:
        keys: The bin of every element.
        histogram: Of them.
        counts: From 1.
    """
    bucket, left = _locate(histogram, counts)
    wanted, owner = np.unique(bucket, return_inverse=True)
    is_wanted = np.zeros(len(histogram) + 1, bool)
    is_wanted[wanted] = True
    found = []
    for part in parts(keys.size):
        where = np.flatnonzero(is_wanted.take(keys[part]))
        order = keys[part].take(where).astype(np.uint64) << np.uint64(32)
        order |= rank(indices(part, where))
        found.append(order)
    ordered = np.sort(np.concatenate(found))
    return ordered[starts(histogram[wanted].astype(np.int64))[owner] + left - 1].astype(np.uint32)


def _locate(histogram: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In which bin a number of elements is reached, and how many of them are in it."""
    total = np.cumsum(histogram, dtype=np.int64)
    bucket = np.searchsorted(total, counts)
    return bucket, counts - (total[bucket] - histogram[bucket])
