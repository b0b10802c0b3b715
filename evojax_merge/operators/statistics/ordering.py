"""The order of a tensor's numbers: from the greatest, equal ones by `rank`."""

from typing import Any, NamedTuple

import numpy as np

GOLDEN = 0x9E3779B9
"""Odd, so that it has an inverse among 32-bit integers."""

SMALLEST_NORMAL = 0x00800000
"""Bits of the smallest float32 that is not subnormal."""

ALL = np.uint32(0xFFFFFFFF)
"""The cutoff that every rank is at most."""


class Cuts(NamedTuple):
    """Sets that hold the c greatest numbers of a tensor, for counts c that rise.

    The c greatest are the elements above ``threshold`` and those equal to it whose `rank` is at
    most ``cutoff``, which is `ALL` where every equal one is taken, and otherwise the last rank that
    is. For c = 0 the threshold is infinite.

    Attributes:
        threshold: float32, by count.
        cutoff: uint32, by count.
    """

    threshold: np.ndarray
    cutoff: np.ndarray


def rank(index: Any) -> Any:
    """The order among equal numbers: a permutation of 32-bit integers that spreads the first ones
    evenly over a tensor (multiples of the golden ratio), so that no rows are preferred.
    """
    return index * np.uint32(GOLDEN)


def without_subnormal(bits: Any) -> Any:
    """Bits of non-negative float32: of zero for subnormal numbers, which compiled programs, a merge
    among them, may take for it.
    """
    return bits * (bits >= np.uint32(SMALLEST_NORMAL)).astype(np.uint32)


def words(bits: np.ndarray, index: np.ndarray) -> np.ndarray:
    """uint64 that rise in the order of the elements.

    Args:
        bits: uint32 of non-negative float32, which order as these do.
        index: uint32, of the same elements.
    """
    order = (~bits).astype(np.uint64)
    order <<= np.uint64(32)
    order |= rank(index)
    return order


def elements(words: np.ndarray) -> np.ndarray:
    """uint32: those that `words` were made of."""
    return words.astype(np.uint32) * np.uint32(pow(GOLDEN, -1, 2**32))


def cuts_at(ordered: np.ndarray, last: np.ndarray) -> Cuts:
    """The cuts whose last element is at a position.

    Args:
        ordered: Sorted `words`, among them all elements that equal a last one.
        last: Positions in them.
    """
    value = ordered >> np.uint64(32)
    following = np.minimum(last + 1, len(ordered) - 1)
    equal = (following > last) & (value[following] == value[last])
    threshold = ~value[last].astype(np.uint32)
    cutoff = np.where(equal, (ordered[last] & np.uint64(ALL)).astype(np.uint32), ALL)
    return Cuts(threshold.view(np.float32), cutoff)
