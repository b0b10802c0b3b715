"""The leading bits of a tensor's numbers, a piece that stays in the cache at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

PIECE = 2**16
"""Elements worked on at once."""

MOST_BINS = 2**20
ELEMENTS_PER_BIN = 4
"""A histogram has about a bin for so many elements; it is summed as a whole."""

MANTISSA = 23
RARE = 1 / 128
"""Bits that fewer numbers use than this do not count: bins are kept few."""


class Digit(NamedTuple):
    """The leading bits of a tensor's numbers, from 0 for the greatest; zeros have the last alone.

    Attributes:
        top: Bits of the greatest number.
        bottom: Below those of the smallest that is not zero.
        shift: Bits that follow.
    """

    top: np.uint32
    bottom: np.uint32
    shift: np.uint32

    @classmethod
    def of(cls, bits: np.ndarray) -> "Digit":
        """A digit that suits the numbers, not empty."""
        top = max(int(bits[part].max()) for part in parts(bits.size))
        # Less one, zero is the greatest.
        least = min(int((bits[part] - np.uint32(1)).min()) for part in parts(bits.size))
        least = min(least + 1, top)
        bins = min(max(bits.size // ELEMENTS_PER_BIN, 1), MOST_BINS)
        shift = max(top - least, 1).bit_length() - bins.bit_length() + 1
        shift = max(shift, _unused_bits(bits), 0)
        bottom = max((least >> shift) - 1, 0) << shift
        return cls(np.uint32(top), np.uint32(bottom), np.uint32(shift))

    @property
    def bins(self) -> int:
        """How many there are."""
        return (int(self.top) >> int(self.shift)) - (int(self.bottom) >> int(self.shift)) + 1

    def keys(self, bits: np.ndarray) -> np.ndarray:
        """int64, of each of a few numbers."""
        clipped = np.maximum(bits, self.bottom)
        clipped >>= self.shift
        return np.subtract(self.top >> self.shift, clipped, dtype=np.int64)


def sample(bits: np.ndarray) -> np.ndarray:
    """At most so many of the elements as a piece has, spread over all."""
    return bits[:: -(-bits.size // PIECE)]


def parts(size: int) -> Iterator[slice]:
    """Pieces of so many elements."""
    return (slice(start, min(start + PIECE, size)) for start in range(0, size, PIECE))


def indices(part: slice, where: np.ndarray) -> np.ndarray:
    """uint32, of elements whose positions in a piece are given."""
    return where.astype(np.uint32) + np.uint32(part.start)


def starts(sizes: np.ndarray) -> np.ndarray:
    """The sum of the sizes before each."""
    return np.cumsum(sizes) - sizes


def _unused_bits(bits: np.ndarray) -> int:
    """How many of the last bits are zero in nearly all numbers, by a sample of them."""
    some = sample(bits)
    unused = 0
    while unused < MANTISSA:
        used = np.count_nonzero((some & np.uint32((2 << unused) - 1)) != 0)
        if used > RARE * len(some):
            break
        unused += 1
    return unused
