"""Every element of a tensor in a bucket with few others; the buckets are in order.

A sample says where the numbers lie. A bucket holds numbers that follow each other; equal numbers
of which there are many (task vectors of bfloat16, or zeros) have several, by their `rank`. To
assign buckets and to count is one compiled pass over memory: NumPy would take some ten, between
which threads wait for the interpreter's lock, and its count at indices never leaves that lock.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from evojax_merge.operators.statistics.numbers import Numbers, at, programs_here
from evojax_merge.operators.statistics.ordering import without_subnormal
from evojax_merge.operators.statistics.pieces import of_two_lengths
from evojax_merge.operators.steps.cuts import rank
from evojax_merge.params.types import Array

BUCKETS = 2**16
"""How many buckets there are at most."""

NONE = BUCKETS - 1
"""The bucket of elements that were counted before."""

SAMPLE = 43_000
"""How many elements are drawn: a bucket holds about one of them, and they need 1.5 times as many
buckets at most."""

PER_DRAWN = 4
"""One in so many elements of a small tensor is drawn."""

USUAL = 4
"""A number that is drawn so often has buckets of its own."""

DIGITS = 2**17
"""How many digits there are at most."""

TAIL = 1024
"""One in so many numbers at either end shares a digit with others, so that digits are finer."""

WIDTH = 32
"""The number of bits of a rank; shifted by so many it is 0."""

FIELD = np.uint32(6)
"""The number of bits in which a table's entry holds by how many a rank is shifted; the bits above
them are a bucket."""


class Buckets(NamedTuple):
    """Which bucket a number is in.

    Its digit, some leading bits, says in which bucket it is. Where there is a usual number of that
    digit, there are several buckets: greater numbers have the first, equal ones the following, by
    rank, and smaller ones the last.

    Attributes:
        shift: The number of bits that follow the digit.
        low: The smallest digit; smaller numbers have it too.
        high: The greatest digit; greater numbers have it too.
        table: The first bucket of each digit from the greatest, then that of zeros, each with how
            far a rank is shifted to count the following buckets.
        usual: The bits of the usual number of each digit, 0 where there is none.
        of_zeros: The first bucket of zeros.
    """

    shift: np.uint32
    low: np.uint32
    high: np.uint32
    table: Any
    usual: Any
    of_zeros: np.uint32

    @classmethod
    def of(cls, numbers: Numbers) -> "Buckets":
        """Buckets that suit a tensor's numbers."""
        some = np.sort(_drawn(numbers))[::-1]
        zeros = len(some) - int(np.count_nonzero(some))
        some = some[: len(some) - zeros] if zeros < len(some) else np.ones(1, np.uint32)
        tail = len(some) // TAIL
        most, least = int(some[tail]), int(some[-1 - tail])
        shift = np.uint32(max((most - least).bit_length() - DIGITS.bit_length() + 2, 0))
        low, high = np.uint32(least) >> shift, np.uint32(most) >> shift
        digit = high - np.clip(some >> shift, low, high)
        begin = _runs(digit)
        place = digit[begin]
        # The number most often drawn of each digit.
        run = _runs(some)
        drawn = np.diff(run, append=len(some))
        run = run[drawn >= USUAL]
        drawn = drawn[drawn >= USUAL]
        rising = np.argsort(drawn, kind="stable")
        run, drawn = run[rising], drawn[rising]
        own = np.zeros(int(high - low) + 1, np.int64)
        own[digit[run]] = 1 << _floor_log2(drawn)
        own = own[place]
        size = np.where(own, own + 2, 1)
        first = np.cumsum(size) - size

        last = int(high - low) + 1
        table, usual = np.zeros((2, DIGITS + 2), np.uint32)
        usual[digit[run]] = some[run]
        # A digit that was not drawn shares the last bucket of the one before.
        length = np.diff(place, append=np.uint32(last))
        shared = first + size - 1
        table[:last] = np.repeat(_entry(shared, 1), length)
        table[place] = _entry(first, own)
        of_zeros = first[-1] + size[-1]
        table[last] = _entry(of_zeros, 1 << _floor_log2(max(zeros, 1)))
        return cls(shift, low, high, table, usual, np.uint32(of_zeros))

    def where_they_are_used(self) -> "Buckets":
        """The same buckets on this machine's processor, as the compiler has arrays."""
        with programs_here():
            return jax.device_put(self)


class Filled:
    """A tensor's elements in their buckets.

    Args:
        numbers: The numbers of a tensor of at least `SMALL` elements.
        buckets: The buckets; with None those that suit the numbers.

    Attributes:
        count: How many elements each bucket holds, int64 ``[BUCKETS]``.
        zeros: How many numbers are zero.
    """

    def __init__(self, numbers: Numbers, buckets: Buckets | None = None):
        self.numbers = numbers
        buckets = buckets or Buckets.of(numbers).where_they_are_used()
        self._bucket = []
        with programs_here():
            count = jnp.zeros(BUCKETS, jnp.uint32)
            for window, new in of_two_lengths(numbers.size):
                part = numbers.part(window)
                start = np.uint32(window.start)
                count, bucket = _fill(count, part, start, np.uint32(new), buckets)
                self._bucket.append(bucket)
            self.count = np.asarray(count).astype(np.int64)
        self.count[NONE] = 0
        self.zeros = int(self.count[int(buckets.of_zeros) :].sum())

    def holding(self, last: np.ndarray) -> np.ndarray:
        """The buckets of some elements, which are counted from 1 in the order."""
        return np.searchsorted(np.cumsum(self.count), last)

    def find(self, table: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """The entry of each element's bucket: those from a position on, one window after another.

        Args:
            table: The entry of each bucket, ``[BUCKETS]``.
        """
        windows = of_two_lengths(self.numbers.size)
        with programs_here():
            found = [_look_up(table, bucket) for bucket in self._bucket]
        for (window, new), entries in zip(windows, found, strict=True):
            yield window.start + new, np.asarray(entries)[new:]

    def members(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """The elements of some buckets, uint32, in order, one window after another.

        Args:
            wanted: Whether each bucket is wanted, bool ``[BUCKETS]``.
        """
        for start, found in self.find(wanted):
            yield np.flatnonzero(found).astype(np.uint32) + np.uint32(start)


def _drawn(numbers: Numbers) -> np.ndarray:
    """The bits of some of the numbers, which are spread over all."""
    step = max(numbers.size // SAMPLE, PER_DRAWN) | 1  # which rows' lengths seldom are
    some = numbers.part(slice(0, numbers.size, step)).made()
    return without_subnormal(np.ascontiguousarray(some[:SAMPLE]).view(np.uint32))


def _runs(ordered: np.ndarray) -> np.ndarray:
    """The positions at which runs of equal numbers begin."""
    new = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return np.flatnonzero(new)


def _floor_log2(number: Any) -> Any:
    """The whole part of the binary logarithm of integers from 1."""
    return np.frexp(np.asarray(number, np.float64))[1].astype(np.int64) - 1


def _entry(bucket: Any, own: Any) -> Any:
    """An entry of a table; the usual number has a power of two of buckets."""
    return bucket << int(FIELD) | (WIDTH - _floor_log2(np.maximum(own, 1)))


@partial(jax.jit, donate_argnums=0)
def _fill(
    count: Array, numbers: Numbers, start: Array, new: Array, buckets: Buckets
) -> tuple[Array, Array]:
    bits = without_subnormal(lax.bitcast_convert_type(numbers.made(), jnp.uint32))
    digit = buckets.high - jnp.clip(bits >> buckets.shift, buckets.low, buckets.high)
    digit = jnp.where(bits == 0, buckets.high - buckets.low + jnp.uint32(1), digit)
    entry, usual = at(buckets.table, digit), at(buckets.usual, digit)
    shift = entry & ((np.uint32(1) << FIELD) - 1)
    position = lax.iota(jnp.uint32, bits.size)
    among = lax.shift_right_logical(rank(position + start), shift) + 1
    behind = lax.shift_left(jnp.uint32(1), WIDTH - shift) + 1
    zero = jnp.uint32(0)
    own = jnp.where(bits == usual, among, jnp.where(bits < usual, behind, zero))
    bucket = jnp.where(position >= new, (entry >> FIELD) + own, jnp.uint32(NONE))
    bucket = bucket.astype(jnp.uint16)
    return count.at[bucket.astype(jnp.int32)].add(np.uint32(1), mode="promise_in_bounds"), bucket


@jax.jit
def _look_up(table: Array, bucket: Array) -> Array:
    return at(table, bucket)
