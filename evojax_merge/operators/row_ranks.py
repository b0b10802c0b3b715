"""Where each number stands in its row, in 8 bits, without sorting the rows.

A row's numbers are counted by their leading bits; the elements of a bin share its mean position.
Bins are 2**-7 of their numbers wide, so that the ranks of smoothly spread numbers are off by half
of 1/255 or so. A row that has too many different numbers in one bin is sorted.
"""

import numpy as np

from evojax_merge.operators.pieces import PIECE
from evojax_merge.operators.threads import in_threads

STEPS = 255
"""Ranks are multiples of 1 / STEPS."""

NARROW = 256
"""A row of fewer elements is sorted."""

DROPPED = np.uint32(16)
"""Bits of a float32 that follow those counted: 7 of the mantissa are."""

OCTAVES = 10
LAST = np.uint32(OCTAVES << 7)
"""Numbers further below a row's greatest share a bin, but for zeros."""

CROWDED = 1 / 64
"""Different numbers of one bin are at most this part of a row: ranks are off by 2 steps at most."""

RARE = 1 / 128
"""Of numbers with no other bits than those counted: if there are more, they have bins alone."""


def row_ranks(magnitude: np.ndarray) -> np.ndarray:
    """uint8 ``[rows, elements]``: rank by magnitude from 0 (least) to 255, equal ones' mean rank.

    Args:
        magnitude: float32 ``[rows, elements]``, none negative, none NaN.
    """
    rows, width = magnitude.shape
    if width == 1:
        return np.full(magnitude.shape, (STEPS + 1) // 2, np.uint8)
    ranks = np.empty(magnitude.shape, np.uint8)
    rank = _by_sorting if width < NARROW else _by_counting
    block = block_rows(width)

    def some(start: int) -> None:
        part = slice(start, start + block)
        ranks[part] = rank(magnitude[part].view(np.uint32))

    if rows <= block:
        some(0)
    else:
        in_threads(some, range(0, rows, block))
    return ranks


def block_rows(width: int) -> int:
    """Rows counted together: whether numbers have bins alone is decided for all of them."""
    return max(1, PIECE // width)


def rank_by_sorting(magnitude: np.ndarray) -> np.ndarray:
    """The same as `row_ranks` of rows of which each is sorted."""
    ranks = np.empty(magnitude.shape, np.uint8)

    def one(row: int) -> None:
        part = slice(row, row + 1)
        ranks[part] = _by_sorting(magnitude[part].view(np.uint32))

    in_threads(one, range(len(magnitude)))
    return ranks


def _by_counting(bits: np.ndarray) -> np.ndarray:
    rows, width = bits.shape
    leading = bits >> DROPPED
    key = np.minimum(leading.max(axis=1, keepdims=True) - leading, LAST)
    alone = (leading << DROPPED) == bits
    alone &= (key < LAST) | (bits == 0)
    split = np.count_nonzero(alone) > RARE * bits.size
    if split:
        key += key
        key += alone
    bins = (int(LAST) + 1) * (1 + split)
    place = np.add(key, np.arange(rows)[:, None] * bins, dtype=np.int64)
    count = np.zeros(rows * bins, np.int32)
    np.add.at(count, place.ravel(), np.int32(1))
    count = count.reshape(rows, bins)
    # The greatest first: so many of the row, less those up to a bin, are below it.
    standing = np.cumsum(count, axis=1, dtype=np.int32)
    standing *= -2
    standing += count
    standing += 2 * width - 1
    ranks = _in_steps(standing, width).take(place)
    crowded = (count[:, :: 1 + split] > max(CROWDED * width, 1)).any(axis=1)
    if crowded.any():
        ranks[crowded] = _by_sorting(bits[crowded])
    return ranks


def _by_sorting(bits: np.ndarray) -> np.ndarray:
    width = bits.shape[1]
    order = np.argsort(bits, axis=1)
    ordered = np.take_along_axis(bits, order, axis=1)
    index = np.broadcast_to(np.arange(width), bits.shape)
    new = np.ones((len(bits), width + 1), bool)
    new[:, 1:-1] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(new[:, :-1], index, 0), axis=1)
    last = np.where(new[:, 1:], index, width)[:, ::-1]
    last = np.minimum.accumulate(last, axis=1)[:, ::-1]
    ranks = np.empty(bits.shape, np.uint8)
    np.put_along_axis(ranks, order, _in_steps(first + last, width), axis=1)
    return ranks


def _in_steps(twice: np.ndarray, width: int) -> np.ndarray:
    """Ranks from twice the position in a row, from 0 to ``width - 1``."""
    scaled = np.multiply(twice, STEPS / (2 * (width - 1)), dtype=np.float64)
    return np.rint(scaled, out=scaled).astype(np.uint8)
