"""Order statistics of whole tensors, for tables that are made once so that no candidate sorts.

On the host keys are sorted that hold as much of an element's place as 32 bits can
(`statistics.keys`). Where it must be known of every element to which sets it belongs,
elements are put in buckets (`statistics.buckets`), and only those that share one with
the last of a set are sorted. On a GPU the device sorts (`statistics.on_device`).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.operators.statistics import on_device
from evojax_merge.operators.statistics.buckets import Buckets, Filled
from evojax_merge.operators.statistics.keys import Keyed, bits_of, ordered_numbers
from evojax_merge.operators.statistics.numbers import Numbers
from evojax_merge.operators.statistics.ordering import cuts_at, elements, words
from evojax_merge.operators.statistics.pieces import SMALL
from evojax_merge.operators.statistics.sums_by_place import sums_by_place
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
        keyed = Keyed(numbers) if numbers.size >= SMALL else None
        sums = None
        if power is not None:
            ordered_by_size = ordered_numbers(numbers) if keyed is None else keyed.from_greatest()
            sums = _sums(ordered_by_size, wanted, power)
            del ordered_by_size
        found = None if keyed is None else keyed.cuts(positive)
        del keyed
        cuts = cuts_at(_sorted_words(numbers), positive - 1) if found is None else found
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


def first_set(numbers: Numbers, counts: Counts, buckets: Buckets | None = None) -> np.ndarray:
    """Of the sets of the c greatest numbers, the first that has an element, on the host.

    Args:
        numbers: Of a tensor.
        counts: By how many numbers are zero: from 0, that rise.
        buckets: Of `common_buckets`.

    Returns:
        By element the position of the count, or how many counts there are: in no set; uint16.
    """
    if numbers.size < SMALL:
        ordered = _sorted_words(numbers)
        first = np.empty(numbers.size, np.uint16)
        zeros = numbers.size - int(np.count_nonzero(bits_of(numbers)))
        first[elements(ordered)] = _first_count(counts(zeros), np.arange(numbers.size))
        return first
    if buckets is not None:
        filled = Filled(numbers, buckets)
        own = counts(filled.zeros)
        shared = filled.count[np.unique(_last_buckets(filled, own))].sum()
        if shared * FEW <= numbers.size:
            return _first_by_buckets(filled, own)
    filled = Filled(numbers)
    return _first_by_buckets(filled, counts(filled.zeros))


def sums_of_sets(
    first: np.ndarray, sets: int, tensors: Sequence[Any], power: int = 1
) -> np.ndarray:
    """float64 ``[tensors, sets]``: sums of powers over the elements of each set.

    Args:
        first: Of `first_set`.
        sets: How many there are.
        tensors: With as many elements each.
        power: 1 or 2.
    """
    added = sums_by_place(first, sets + 1, tuple(map(_numbers, tensors)), power)
    return np.cumsum(added, axis=1)[:, :sets]


def _last_buckets(filled: Filled, counts: np.ndarray) -> np.ndarray:
    """By count, the bucket in which the last element of its set is."""
    return np.searchsorted(np.cumsum(filled.count), np.maximum(counts, 1))


def _first_by_buckets(filled: Filled, counts: np.ndarray) -> np.ndarray:
    """As `first_set`."""
    size = filled.count
    last = _last_buckets(filled, counts)
    shared = np.unique(last)
    first = np.empty(filled.numbers.size, np.uint16)
    by_bucket = np.searchsorted(last, np.arange(len(size))).astype(np.uint16)
    for start, found in filled.find(by_bucket):
        first[start : start + len(found)] = found
    wanted = np.zeros(len(size), bool)
    wanted[shared] = True
    members = (
        words(bits_of(filled.numbers.take(index)), index) for index in filled.members(wanted)
    )
    ordered = np.concatenate(list(members))
    ordered.sort()
    number = size[shared]
    place = np.arange(len(ordered))
    place += np.repeat(np.cumsum(size)[shared] - np.cumsum(number), number)
    first[elements(ordered)] = _first_count(counts, place)
    return first


def _first_count(counts: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The position of the first count of which an element is, by its place in the order."""
    return np.searchsorted(counts, place + 1)


def _sorted_words(numbers: Numbers) -> np.ndarray:
    ordered = words(bits_of(numbers), np.arange(numbers.size, dtype=np.uint32))
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
