"""Order statistics of whole tensors, for tables that are made once so that no candidate sorts.

On the host keys are sorted that hold as much of an element's place as 32 bits can
(`evojax_merge.operators.keys`). Where it must be known of every element to which sets it belongs,
elements are put in buckets (`evojax_merge.operators.buckets`), and only those that share one with
the last of a set are sorted. On a GPU the device sorts (`evojax_merge.operators.on_device`).
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.operators import on_device
from evojax_merge.operators.buckets import Buckets, Filled
from evojax_merge.operators.host import Numbers
from evojax_merge.operators.keys import Keyed, bits_of, ordered_numbers
from evojax_merge.operators.ordering import Cuts, cuts_at, elements, words
from evojax_merge.operators.pieces import SMALL
from evojax_merge.types import Array

FEW = 6
"""Common buckets do not suit a layer where more than one in so many elements are to be sorted."""

Counts = Callable[[int], np.ndarray]


class Selection(NamedTuple):
    """`Cuts` for many counts, and sums over what they hold.

    Attributes:
        threshold: float32, by count.
        cutoff: uint32, by count.
        sums: float64, by count: of powers of the c greatest; None where none were asked for.
    """

    threshold: np.ndarray
    cutoff: np.ndarray
    sums: np.ndarray | None


def select(
    values: np.ndarray | Array | Numbers, counts: np.ndarray, power: int | None = None
) -> Selection:
    """Find the c-th greatest number for every count.

    Args:
        values: float32 ``[n]``, none negative, none NaN.
        counts: Integers from 0 to n, in any order.
        power: 1 to sum the c greatest too, 2 to sum their squares.
    """
    wanted, position = np.unique(np.asarray(counts, np.int64), return_inverse=True)
    positive = wanted[wanted > 0]
    if isinstance(values, np.ndarray) and on_device.pays((), values.size):
        values = jnp.asarray(values)
    if isinstance(values, jax.Array):
        ordered = on_device.Ordered(values)
        cuts = ordered.cuts(positive)
        sums = None if power is None else ordered.sums(wanted, [values**power])[0]
    else:
        numbers = _numbers(values)
        found = Keyed(numbers).cuts(positive) if numbers.size >= SMALL else None
        cuts = Sorted(numbers, lambda zeros: positive).cuts() if found is None else found
        sums = None if power is None else _sums(ordered_numbers(numbers), wanted, power)
    threshold = np.r_[np.full(len(wanted) - len(positive), np.inf, np.float32), cuts.threshold]
    cutoff = np.r_[np.zeros(len(wanted) - len(positive), np.uint32), cuts.cutoff]
    return Selection(
        threshold[position], cutoff[position], None if sums is None else sums[position]
    )


def common_buckets(whole: Numbers, layers: int) -> Buckets | None:
    """Buckets for each layer of a leaf, since their numbers are much alike.

    Args:
        whole: The numbers of all layers.
        layers: How many there are. None is returned for one, or where each is sorted.
    """
    if layers == 1 or whole.size // layers < SMALL:
        return None
    return Buckets.of(whole).where_they_are_used()


def nested_in(
    numbers: Numbers, counts: Counts, buckets: Buckets | None = None
) -> "Sorted | Bucketed":
    """The sets of the c greatest numbers, on the host.

    Args:
        numbers: Of a tensor.
        counts: As for `Sorted`.
        buckets: Of `common_buckets`.
    """
    if numbers.size < SMALL:
        return Sorted(numbers, counts)
    if buckets is not None:
        nested = Bucketed(numbers, counts, buckets)
        if nested.sorted_elements * FEW <= numbers.size:
            return nested
    return Bucketed(numbers, counts)


class Sorted:
    """Sets of the c greatest numbers of a small tensor.

    Args:
        numbers: Of at least one element.
        counts: By how many numbers are zero: from 0, that rise.
    """

    def __init__(self, numbers: Numbers, counts: Counts):
        bits = bits_of(numbers)
        self._counts = counts(bits.size - int(np.count_nonzero(bits)))
        self._ordered = words(bits, np.arange(bits.size, dtype=np.uint32))
        self._ordered.sort()

    def cuts(self) -> Cuts:
        """That hold so many; none for a count of 0."""
        return cuts_at(self._ordered, self._counts[self._counts > 0] - 1)

    def sums(self, tensors: Sequence[Any], power: int = 1) -> np.ndarray:
        """float64 ``[tensors, counts]``: of the powers of each tensor over the c greatest."""
        index = elements(self._ordered)
        sums = [_running(_powers(tensor, index, power))[self._counts] for tensor in tensors]
        return np.reshape(sums, (len(sums), len(self._counts)))

    def first_cut(self) -> np.ndarray:
        """By element, the first count of which it is; their number where it is of none; uint16."""
        first = np.empty(len(self._ordered), np.uint16)
        place = np.arange(1, len(first) + 1)
        first[elements(self._ordered)] = np.searchsorted(self._counts, place)
        return first


class Bucketed:
    """As `Sorted`, of a tensor that has at least `SMALL` elements."""

    def __init__(self, numbers: Numbers, counts: Counts, buckets: Buckets | None = None):
        self._numbers = numbers
        self._filled = Filled(numbers, buckets)
        self._counts = counts(self._filled.zeros)
        size = self._filled.count
        total = np.cumsum(size)
        before = total - size
        self._last = np.searchsorted(total, np.maximum(self._counts, 1))
        """The bucket in which the last element of each set is."""
        following = np.searchsorted(total, np.minimum(self._counts + 1, numbers.size))
        wanted = np.union1d(self._last, following)
        self.sorted_elements = int(size[wanted].sum())
        """How many share a bucket with a last one."""
        self._wanted = wanted
        start = np.cumsum(size[wanted]) - size[wanted]
        self._start = start[np.searchsorted(wanted, self._last)]
        """Where that bucket's elements begin among those that were sorted."""
        self._end = self._start + self._counts - before[self._last]
        """Where those of the set end."""
        self._place = np.repeat(before[wanted] - start, size[wanted])
        self._place += np.arange(1, self.sorted_elements + 1)
        """Of the elements that were sorted, among all."""

    def sums(self, tensors: Sequence[Any], power: int = 1) -> np.ndarray:
        """As those of `Sorted`."""
        sums = np.empty((len(tensors), len(self._counts)))
        index = elements(self._ordered)
        for own, tensor in zip(sums, tensors, strict=True):
            whole = _running(self._filled.sums(_numbers(tensor), power))
            some = _running(_powers(tensor, index, power))
            own[:] = whole[self._last] + some[self._end] - some[self._start]
        return sums

    def first_cut(self) -> np.ndarray:
        """As that of `Sorted`."""
        by_bucket = np.searchsorted(self._last, np.arange(len(self._filled.count)))
        first = np.empty(self._numbers.size, np.uint16)
        for start, found in self._filled.find(by_bucket.astype(np.uint16)):
            first[start : start + len(found)] = found
        first[elements(self._ordered)] = np.searchsorted(self._counts, self._place)
        return first

    @cached_property
    def _ordered(self) -> np.ndarray:
        """Sorted `words` of the elements of the buckets that are wanted."""
        is_wanted = np.zeros(len(self._filled.count), bool)
        is_wanted[self._wanted] = True
        found = [
            words(bits_of(self._numbers.take(index)), index)
            for index in self._filled.members(is_wanted)
        ]
        ordered = np.concatenate(found)
        ordered.sort()
        return ordered


def _numbers(tensor: Any) -> Numbers:
    return tensor if isinstance(tensor, Numbers) else Numbers((tensor,))


def _sums(ordered: np.ndarray, counts: np.ndarray, power: int) -> np.ndarray:
    """float64: of powers, in float32, of the first numbers, for counts that rise."""
    end = counts[counts < len(ordered)]
    begin = end if len(end) and end[0] == 0 else np.r_[0, end]
    some = np.add.reduceat(ordered**power, begin, dtype=np.float64)
    return np.r_[0.0, np.cumsum(some)][np.searchsorted(np.r_[begin, len(ordered)], counts)]


def _powers(tensor: Any, index: np.ndarray, power: int) -> np.ndarray:
    """float64, of some elements: the powers in float32."""
    return (_numbers(tensor).take(index).made() ** power).astype(np.float64)


def _running(terms: np.ndarray) -> np.ndarray:
    """Sums of the first c terms, from c = 0."""
    return np.r_[0.0, np.cumsum(terms)]
