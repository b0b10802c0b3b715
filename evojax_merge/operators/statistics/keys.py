"""Elements as keys of 32 bits that never fall in the order of `ordering`: the fastest to sort.

NumPy sorts them with vector instructions, twice as fast as `words`. A key holds a number's bits;
or, where few numbers make up a tensor (task vectors of bfloat16), some of its bits and some of the
`rank`. Elements that share a key at the end of a set are found by a hash among all, in one compiled
pass, and these few are sorted as `words`.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from evojax_merge.operators.statistics.numbers import Numbers, at, programs_here
from evojax_merge.operators.statistics.ordering import (
    ALL,
    GOLDEN,
    Cuts,
    cuts_at,
    rank,
    without_subnormal,
    words,
)
from evojax_merge.operators.statistics.pieces import SMALL, of_two_lengths
from evojax_merge.types import Array

DRAWN = 2**12
"""Numbers looked at to choose the keys."""

DROPPED = 16
"""Bits of a float32 that a class leaves out. A difference of bfloat16 seldom has any of them."""

CLASS = 12
"""Bits of a class, in a key with some of the rank."""

SOME = 16
"""Keys hold some of the rank where more than one number in so many has none of those bits."""

ABOVE, FIRST, BELOW, ZERO = 0, 1, 2**CLASS - 2, 2**CLASS - 1
"""Classes: of numbers above those drawn; of the leading bits of the greatest drawn, and from there
on two for each leading bits, without the others and with them; of smaller numbers; of zeros."""

MOST = 4
"""At most one element in so many is sorted as a word."""

CELLS = 256
"""Of the table of hashes, for each key looked for."""

LEAST = 18
"""Its size is a power of 2, with an even exponent of at least so many."""


class Keyed:
    """The sets of the c greatest numbers of a tensor.

    Args:
        numbers: Of at least `SMALL` elements.
    """

    def __init__(self, numbers: Numbers):
        self._numbers = numbers
        self._top = _leading_bits_of_few(numbers)
        self._key = list(_keys(numbers, self._top))
        self._ordered = _sorted(numbers.size, self._key)

    def cuts(self, counts: np.ndarray) -> Cuts | None:
        """None where more than one element in `MOST` would have to be sorted again.

        Args:
            counts: From 1, that rise.
        """
        last = self._ordered[counts - 1]
        following = self._ordered[np.minimum(counts, len(self._ordered) - 1)]
        if self._top is None:
            # Told by the key, but for those of which only some equal ones are in the set.
            found = Cuts((~last).view(np.float32), np.full(len(last), ALL))
            asked = np.flatnonzero((following == last) & (counts < len(self._ordered)))
        else:
            found = Cuts(np.empty(len(last), np.float32), np.empty(len(last), np.uint32))
            asked = np.arange(len(last))
        if not len(asked):
            return found
        last, following, counts = last[asked], following[asked], counts[asked]
        elements = self._elements(np.concatenate((last, following)))
        if elements is None:
            return None
        key, index = elements
        ordered = words(bits_of(self._numbers.take(index)), index)
        ordered.sort()
        key.sort()
        place = key.searchsorted(last) + counts - self._ordered.searchsorted(last) - 1
        for whole, some in zip(found, cuts_at(ordered, place), strict=True):
            whole[asked] = some
        return found

    def from_greatest(self) -> np.ndarray:
        """float32: the numbers in order."""
        if self._top is None:
            return np.invert(self._ordered).view(np.float32)
        return ordered_numbers(self._numbers)

    def _elements(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Keys and indices of all elements that have one of some keys, and of some others.

        None where these are more than one in `MOST`.
        """
        wanted = np.sort(wanted)
        wanted = wanted[np.diff(wanted, prepend=~wanted[:1]) != 0]
        bits = max((CELLS * len(wanted)).bit_length() + 1 & ~1, LEAST)  # few sizes to compile for
        shift = np.uint32(32 - bits)
        cell = _hash(wanted, shift)
        table = np.zeros(2 ** (bits - 5), np.uint32)
        np.bitwise_or.at(table, cell >> np.uint32(5), np.uint32(1) << (cell & np.uint32(31)))
        found = []
        number = 0
        for piece, new, key in self._key:
            with programs_here():
                hit = np.flatnonzero(np.asarray(_hits(table, key, shift)))
            hit = hit[hit.searchsorted(new) :]
            number += len(hit)
            if number * MOST > len(self._ordered):
                return None
            found.append((np.asarray(key)[hit], hit.astype(np.uint32) + np.uint32(piece.start)))
        keys, indices = zip(*found, strict=True)
        return np.concatenate(keys), np.concatenate(indices)


def bits_of(numbers: Numbers) -> np.ndarray:
    """uint32 that order as the numbers do."""
    return without_subnormal(np.ascontiguousarray(numbers.made()).view(np.uint32))


def ordered_numbers(numbers: Numbers) -> np.ndarray:
    """float32, from the greatest."""
    if numbers.size < SMALL:
        return np.sort(bits_of(numbers))[::-1].view(np.float32)
    key = _sorted(numbers.size, _keys(numbers, None))
    return np.invert(key, out=key).view(np.float32)


def _leading_bits_of_few(numbers: Numbers) -> np.int32 | None:
    """Leading bits of the greatest number drawn; None where few of them have no others."""
    step = max(numbers.size // DRAWN, 1) | 1  # which rows' lengths seldom are
    some = bits_of(numbers.part(slice(0, numbers.size, step)))
    leading = some >> np.uint32(DROPPED)
    alone = np.count_nonzero(leading << np.uint32(DROPPED) == some)
    return np.int32(leading.max()) if SOME * alone > len(some) else None


def _keys(numbers: Numbers, top: np.int32 | None) -> Iterator[tuple[slice, int, Array]]:
    """The keys of one piece after another, and how many of them are in the piece before."""
    for piece, new in of_two_lengths(numbers.size):
        part = numbers.part(piece)
        with programs_here():
            key = _by_number(part) if top is None else _by_both(part, top, np.uint32(piece.start))
        yield piece, new, key


def _sorted(size: int, keys: Iterable[tuple[slice, int, Array]]) -> np.ndarray:
    ordered = np.empty(size, np.uint32)
    for piece, new, key in keys:
        ordered[piece.start + new : piece.stop] = np.asarray(key)[new:]
    ordered.sort()
    return ordered


@jax.jit
def _by_number(numbers: Numbers) -> Array:
    return ~_bits(numbers)


@jax.jit
def _by_both(numbers: Numbers, top: Array, start: Array) -> Array:
    bits = _bits(numbers)
    leading = bits >> np.uint32(DROPPED)
    alone = (leading << np.uint32(DROPPED)) == bits
    own = FIRST + 2 * (top - leading.astype(jnp.int32)) + alone
    apart = (own < FIRST) | (own >= BELOW)
    own = jnp.where(own < FIRST, ABOVE, jnp.minimum(own, BELOW))
    own = jnp.where(bits == 0, ZERO, own).astype(jnp.uint32)
    order = rank(lax.iota(jnp.uint32, bits.size) + start) >> np.uint32(CLASS)
    rest = (~bits & np.uint32(2**DROPPED - 1)) << np.uint32(32 - CLASS - DROPPED)
    rest = jnp.where(apart, jnp.uint32(0), rest)
    rest = jnp.where(alone & ~apart | (bits == 0), order, rest)
    return (own << np.uint32(32 - CLASS)) | rest


def _bits(numbers: Numbers) -> Array:
    return without_subnormal(lax.bitcast_convert_type(numbers.made(), jnp.uint32))


@jax.jit
def _hits(table: Array, key: Array, shift: Array) -> Array:
    cell = _hash(key, shift)
    word = at(table, cell >> np.uint32(5))
    return ((word >> (cell & np.uint32(31))) & np.uint32(1)).astype(bool)


def _hash(key: Any, shift: Any) -> Any:
    return (key * np.uint32(GOLDEN)) >> shift
