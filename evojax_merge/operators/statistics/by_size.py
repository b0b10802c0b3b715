"""The numbers of a tensor sorted, where few of them are equal.

NumPy sorts keys of 32 bits with vector instructions, twice as fast as `words`. They say nothing of
the order among equal numbers: elements that equal the last one of a set are found by a hash among
all, in one compiled pass, and these few are sorted as words.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from evojax_merge.operators.base import GOLDEN
from evojax_merge.operators.statistics.numbers import Numbers, at, programs_here
from evojax_merge.operators.statistics.ordering import bits_of, without_subnormal, words
from evojax_merge.operators.statistics.pieces import of_two_lengths
from evojax_merge.operators.steps.cuts import ALL, Cut
from evojax_merge.params.types import Array

DRAWN = 2**10
"""How many numbers are looked at to tell whether few are equal."""

DIFFERENT = 7 / 8
"""Few numbers are equal where at least this part of those drawn differ from each other."""

CELLS_LOG2 = 18
"""The binary logarithm of the size of the table of hashes, in which few of the values looked for
share a cell with others."""


class BySize:
    """The numbers of a tensor of at least `SMALL` elements, sorted."""

    def __init__(self, numbers: Numbers) -> None:
        """Sort the numbers.

        Args:
            numbers: The elements.
        """
        self._pieces: list[tuple[int, int, Array]] = []
        self._rising = np.empty(numbers.size, np.uint32)
        for piece, new in of_two_lengths(numbers.size):
            with programs_here():
                bits = _made(numbers.part(piece))
            self._pieces.append((piece.start, new, bits))
        for start, new, bits in self._pieces:
            self._rising[start + new : start + len(bits)] = np.asarray(bits)[new:]
        self._rising.sort()

    def cut(self, counts: np.ndarray) -> Cut:
        """The cut that `Order.cut` describes."""
        size = len(self._rising)
        value = self._rising[size - counts]
        greater = size - self._rising.searchsorted(value, "right")
        split = size - self._rising.searchsorted(value) > counts
        cutoff = np.full(len(counts), ALL)
        if split.any():
            ended = value[split]
            ordered = self._equal_to(ended)
            begin = ordered.searchsorted((~ended).astype(np.uint64) << np.uint64(32))
            last = ordered[begin + (counts - greater)[split] - 1]
            cutoff[split] = last.astype(np.uint32)  # the rank
        return Cut(value.view(np.float32), cutoff)

    def sums(self, counts: np.ndarray, power: int) -> np.ndarray:
        """The sums that `Order.sums` describes."""
        ordered = self._rising[::-1].view(np.float32)
        end = counts[counts < len(ordered)]
        begin = end if len(end) and end[0] == 0 else np.r_[0, end]
        some = np.add.reduceat(ordered**power, begin, dtype=np.float64)
        return np.r_[0.0, np.cumsum(some)][np.searchsorted(np.r_[begin, len(ordered)], counts)]

    def _equal_to(self, values: np.ndarray) -> np.ndarray:
        """The sorted `words` of all elements that equal one of some values, and of few others."""
        table = np.zeros(2**CELLS_LOG2, bool)
        table[_hash(values)] = True
        with programs_here():
            hits = [_hits(table, bits) for _, _, bits in self._pieces]
        found = []
        for (start, new, bits), hit in zip(self._pieces, hits, strict=True):
            index = np.flatnonzero(np.asarray(hit)[new:]) + new
            found.append(words(np.asarray(bits)[index], (index + start).astype(np.uint32)))
        return np.sort(np.concatenate(found))


def few_are_equal(numbers: Numbers) -> bool:
    """Whether few numbers of a tensor equal others, judged by some that are spread over all."""
    step = max(numbers.size // DRAWN, 1) | 1  # which rows' lengths seldom are
    some = bits_of(numbers.part(slice(0, numbers.size, step)))
    return len(np.unique(some)) >= DIFFERENT * len(some)


@jax.jit
def _made(numbers: Numbers) -> Array:
    return without_subnormal(lax.bitcast_convert_type(numbers.made(), jnp.uint32))


@jax.jit
def _hits(table: Array, bits: Array) -> Array:
    return at(table, _hash(bits))


def _hash(bits: np.ndarray | Array) -> np.ndarray | Array:
    return (bits * np.uint32(GOLDEN)) >> np.uint32(32 - CELLS_LOG2)
