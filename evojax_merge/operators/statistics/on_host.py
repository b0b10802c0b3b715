"""The order of a tensor's numbers on the host.

Numbers of which few are equal are sorted (`statistics.by_size`). Where many are (task vectors of
bfloat16), or where it must be known of every element which sets hold it, elements are put in
buckets (`statistics.buckets`), which follow each other in the order. Which elements a set holds is
known from the buckets alone, but for those that share one with the last element of the set; these
are sorted.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from evojax_merge.operators.statistics.buckets import Buckets, Filled
from evojax_merge.operators.statistics.by_size import BySize, few_are_equal
from evojax_merge.operators.statistics.numbers import Numbers
from evojax_merge.operators.statistics.ordering import Order, bits_of, cut_at, elements, words
from evojax_merge.operators.statistics.pieces import SMALL
from evojax_merge.operators.statistics.sums_by_place import sums_by_place
from evojax_merge.operators.steps.cuts import Cut

FEW = 6
"""Common buckets do not suit a layer of which more than one in so many elements must be sorted."""


class Ordered(Order):
    """An `Order` of numbers; those of a small tensor are all sorted with their places.

    Attributes:
        size: The number of elements.
    """

    def __init__(self, numbers: Numbers, common: Buckets | None = None) -> None:
        """Sort the numbers, or put them in buckets.

        Args:
            numbers: The elements.
            common: The `common_buckets` of a leaf to which the tensor belongs; with these numbers
                are not sorted.
        """
        self.size = numbers.size
        self._numbers = numbers
        self._common = common
        self._near: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self._first: tuple[np.ndarray, np.ndarray] | None = None

    @cached_property
    def zeros(self) -> int:
        """The number of elements that are zero."""
        if self._filled is None:
            return self.size - int(np.count_nonzero(bits_of(self._numbers)))
        return self._filled.zeros

    def cut(self, counts: np.ndarray) -> Cut:
        """The cut that `Order.cut` describes."""
        if self._by_size is not None:
            return self._by_size.cut(counts)
        ordered, place = self._sorted(counts)
        return cut_at(ordered, place.searchsorted(counts - 1))

    def first(self, counts: np.ndarray) -> np.ndarray:
        """The positions that `Order.first` describes."""
        if self._first is not None and np.array_equal(self._first[0], counts):
            return self._first[1]
        ordered, place = self._sorted(np.unique(np.maximum(counts, 1)))
        first = np.empty(self.size, np.uint16)
        if self._filled is not None:
            last = self._filled.holding(np.maximum(counts, 1))
            buckets = np.arange(len(self._filled.count))
            for start, found in self._filled.find(last.searchsorted(buckets).astype(np.uint16)):
                first[start : start + len(found)] = found
        first[elements(ordered)] = counts.searchsorted(place + 1)
        self._first = counts, first  # sums over the same sets ask for it again
        return first

    def sums(self, counts: np.ndarray, power: int = 1) -> np.ndarray:
        """The sums that `Order.sums` describes."""
        if self._by_size is not None:
            return self._by_size.sums(counts, power)
        return self.sums_of([self._numbers], counts, power)[0]

    def sums_of(self, tensors: Sequence[Any], counts: np.ndarray, power: int = 1) -> np.ndarray:
        """The sums that `Order.sums_of` describes; tensors may be `Numbers` too."""
        made = tuple(x if isinstance(x, Numbers) else Numbers((x,)) for x in tensors)
        added = sums_by_place(self.first(counts), len(counts) + 1, made, power)
        return np.cumsum(added, axis=1)[:, :-1]

    @cached_property
    def _by_size(self) -> BySize | None:
        if self.size < SMALL or self._common is not None or not few_are_equal(self._numbers):
            return None
        return BySize(self._numbers)

    @cached_property
    def _filled(self) -> Filled | None:
        return Filled(self._numbers, self._common) if self.size >= SMALL else None

    def _sorted(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The `words` of what is sorted, in order, and the place of each in the whole order.

        Whatever shares a bucket with the last element of a set, or with the next one, is sorted.

        Args:
            counts: The sizes of the sets, from 1.
        """
        if self._near is None or not np.isin(counts, self._near[0]).all():
            self._near = counts, *self._sort(counts)
        return self._near[1:]

    def _sort(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self._filled is None:
            index = np.arange(self.size, dtype=np.uint32)
            return np.sort(words(bits_of(self._numbers), index)), np.arange(self.size)
        size = self._filled.count
        shared = np.unique(self._filled.holding(np.r_[counts, np.minimum(counts + 1, self.size)]))
        if self._common is not None and size[shared].sum() * FEW > self.size:
            self._common, self._filled = None, Filled(self._numbers)
            return self._sort(counts)
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
        whole: The numbers of all layers.
        layers: The number of layers.

    Returns:
        The buckets; None for a single layer, or where each layer is sorted.
    """
    if layers == 1 or whole.size // layers < SMALL:
        return None
    return Buckets.of(whole).where_they_are_used()
