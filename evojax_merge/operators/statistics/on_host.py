"""The order of a tensor's numbers on the host, where only few of them are sorted.

Elements are put in buckets (`statistics.buckets`), which follow each other in the order. Which
elements a set holds is known from the buckets alone, but for those that share one with the last
element of the set: these are sorted.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from evojax_merge.operators.statistics.buckets import Buckets, Filled
from evojax_merge.operators.statistics.numbers import Numbers
from evojax_merge.operators.statistics.ordering import bits_of, cut_at, elements, words
from evojax_merge.operators.statistics.pieces import SMALL
from evojax_merge.operators.statistics.sums_by_place import sums_by_place
from evojax_merge.operators.steps.cuts import Cut

FEW = 6
"""Common buckets do not suit a layer where more than one in so many elements are to be sorted."""


class Ordered:
    """An `Order` of numbers, of which those of a small tensor are sorted.

    Attributes:
        size: the number of elements.
        zeros: the number of elements that are zero.
    """

    def __init__(self, numbers: Numbers, common: Buckets | None = None) -> None:
        """Args:
        numbers: the elements.
        common: `common_buckets` of a leaf to which the tensor belongs.
        """
        self.size = numbers.size
        self._numbers = numbers
        self._common = common is not None
        self._filled = Filled(numbers, common) if self.size >= SMALL else None
        if self._filled is None:
            self.zeros = self.size - int(np.count_nonzero(bits_of(numbers)))
        else:
            self.zeros = self._filled.zeros
        self._found: tuple[np.ndarray, np.ndarray] | None = None

    def cut(self, counts: np.ndarray) -> Cut:
        """See `Order`."""
        ordered, place = self._near(np.union1d(counts, np.minimum(counts + 1, self.size)))
        return cut_at(ordered, place.searchsorted(counts - 1))

    def first(self, counts: np.ndarray) -> np.ndarray:
        """See `Order`."""
        if self._found is not None and np.array_equal(self._found[0], counts):
            return self._found[1]
        last = np.maximum(counts, 1)
        ordered, place = self._near(last)
        first = np.empty(self.size, np.uint16)
        if self._filled is not None:
            buckets = np.arange(len(self._filled.count))
            by_bucket = self._filled.holding(last).searchsorted(buckets).astype(np.uint16)
            for start, found in self._filled.find(by_bucket):
                first[start : start + len(found)] = found
        first[elements(ordered)] = counts.searchsorted(place + 1)
        self._found = counts, first  # sums over the same sets ask for it again
        return first

    def sums(self, counts: np.ndarray, tensors: Sequence[Any], power: int = 1) -> np.ndarray:
        """See `Order`; tensors may be `Numbers` too."""
        made = tuple(x if isinstance(x, Numbers) else Numbers((x,)) for x in tensors)
        added = sums_by_place(self.first(counts), len(counts) + 1, made, power)
        return np.cumsum(added, axis=1)[:, :-1]

    def _near(self, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sorted `words` of all that share a bucket with some elements, and their places.

        Args:
            last: which elements, counted from 1 in the order.
        """
        if self._filled is None:
            index = np.arange(self.size, dtype=np.uint32)
            return np.sort(words(bits_of(self._numbers), index)), np.arange(self.size)
        size = self._filled.count
        shared = np.unique(self._filled.holding(last))
        if self._common and size[shared].sum() * FEW > self.size:
            self._common, self._filled = False, Filled(self._numbers)
            return self._near(last)
        wanted = np.zeros(len(size), bool)
        wanted[shared] = True
        members = [
            words(bits_of(self._numbers.take(index)), index)
            for index in self._filled.members(wanted)
        ]
        ordered = np.sort(np.concatenate(members))
        number = size[shared]
        before = np.cumsum(size)[shared] - np.cumsum(number)
        return ordered, np.arange(len(ordered)) + np.repeat(before, number)


def common_buckets(whole: Numbers, layers: int) -> Buckets | None:
    """Buckets for each layer of a leaf, since their numbers are much alike.

    Args:
        whole: the numbers of all layers.
        layers: the number of layers. None is returned for one, or where each is sorted.
    """
    if layers == 1 or whole.size // layers < SMALL:
        return None
    return Buckets.of(whole).where_they_are_used()
