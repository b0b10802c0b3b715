"""The rank of each number in its row, in 8 bits, found without sorting the rows.

A row's numbers are counted by their leading bits; the elements of a bin share its mean position.
Bins are 2**-7 of their numbers wide, so that the ranks of smoothly spread numbers are off by half
of 1/255 or so. A row that has too many different numbers in one bin is sorted.

Compiled passes find bins, count and look up. NumPy adds up the counts of several rows at once, in
the fields of a word.
"""

from collections.abc import Iterator
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from evojax_merge.operators.statistics.numbers import Numbers, at, programs_here
from evojax_merge.operators.statistics.pieces import PIECE
from evojax_merge.operators.statistics.threads import in_threads
from evojax_merge.params.types import Array

STEPS = 255
"""Ranks are multiples of 1 / STEPS."""

NARROW = 256
"""A row of fewer elements is sorted."""

DROPPED = np.uint32(16)
"""The number of bits of a float32 that follow those counted, the last 7 of which are mantissa."""

OCTAVES = 10
LAST = np.uint32(OCTAVES << 7)
"""Numbers that are further below a row's greatest share a bin, but for zeros."""

CROWDED = 1 / 64
"""Different numbers of one bin are at most this part of a row, so that ranks are off by 2 steps at
most."""

RARE = 1 / 128
"""Numbers with no other bits than those counted have bins alone if they are more than this part."""


BLOCKS = 8
"""How many blocks of rows are worked on at once, but at the end."""


def row_ranks(magnitude: np.ndarray) -> np.ndarray:
    """The rank of each number in its row, uint8 ``[rows, elements]``, from 0 (least) to 255.

    Equal numbers have their mean rank.

    Args:
        magnitude: The numbers, float32 ``[rows, elements]``, none negative and none NaN.
    """
    return ranks_in_rows(Numbers((magnitude.reshape(-1),)), magnitude.shape[1])


def ranks_in_rows(numbers: Numbers, width: int) -> np.ndarray:
    """The ranks that `row_ranks` describes, of rows that follow each other.

    Args:
        numbers: The numbers of all rows.
        width: The number of elements of a row.
    """
    ranks = np.empty((numbers.size // width, width), np.uint8)
    if width == 1:
        ranks[:] = (STEPS + 1) // 2
        return ranks

    def some(rows: slice) -> None:
        part = numbers.part(slice(rows.start * width, rows.stop * width))
        few = width < NARROW
        ranks[rows] = _by_sorting(_bits(part, width)) if few else _by_counting(part, width)

    pieces = list(_pieces(len(ranks), block_rows(width)))
    if len(pieces) == 1:
        some(pieces[0])
    else:
        in_threads(some, pieces)
    return ranks


def _pieces(rows: int, block: int) -> Iterator[slice]:
    """The rows that are worked on at once: some blocks, and the last ones block by block."""
    large = rows - rows % (BLOCKS * block)
    for start in (*range(0, large, BLOCKS * block), *range(large, rows, block)):
        length = BLOCKS * block if start < large else block
        yield slice(start, min(start + length, rows))


def block_rows(width: int) -> int:
    """How many rows are counted together; whether numbers have bins alone is decided for all."""
    return max(1, PIECE // width)


def rank_by_sorting(magnitude: np.ndarray) -> np.ndarray:
    """The ranks that `row_ranks` describes, found by sorting each row."""
    ranks = np.empty(magnitude.shape, np.uint8)

    def one(row: int) -> None:
        part = slice(row, row + 1)
        ranks[part] = _by_sorting(magnitude[part].view(np.uint32))

    in_threads(one, range(len(magnitude)))
    return ranks


def _bits(numbers: Numbers, width: int) -> np.ndarray:
    return np.ascontiguousarray(numbers.made()).view(np.uint32).reshape(-1, width)


def _by_counting(numbers: Numbers, width: int) -> np.ndarray:
    block = block_rows(width)
    rows = numbers.size // width
    given = numbers
    if rows < block:  # as in other pieces, for one program; these rows are not looked at
        given = Numbers(
            (np.resize(_bits(numbers, width), (block, width)).view(np.float32).ravel(),)
        )
    with programs_here():
        bits = _made_bits(given)
        top = np.asarray(bits).reshape(-1, width).max(axis=1) >> DROPPED
        alone = np.asarray(_alone_by_column(bits, top, np.int32(rows), block))
        split = alone.sum(axis=1) > RARE * min(rows, block) * width
        layout = bool(split.any())
        place, count, most = _count(bits, top, np.repeat(split, block), layout)
        ranks = np.asarray(_look_up(count, _running(np.asarray(count)), place, _steps(width)))
    ranks = ranks.reshape(-1, width)[:rows]
    crowded = np.asarray(most)[:rows] > max(CROWDED * width, 1)
    if crowded.any():
        ranks = ranks.copy()
        ranks[crowded] = _by_sorting(np.asarray(bits).reshape(-1, width)[:rows][crowded])
    return ranks


def _running(count: np.ndarray) -> np.ndarray:
    """The sums of a row's counts up to each bin.

    Args:
        count: The counts, ``[groups, bins, rows]``; no sum leaves its field of a word.
    """
    words = count.view(np.uint64)
    return np.cumsum(words, axis=1, dtype=np.uint64).view(count.dtype)


@cache
def _steps(width: int) -> np.ndarray:
    """The rank at each position in a row, looked up by twice the position."""
    return _in_steps(np.arange(2 * width), width)


@jax.jit
def _made_bits(numbers: Numbers) -> Array:
    return lax.bitcast_convert_type(numbers.made(), jnp.uint32)


def _keys(bits: Array, top: Array) -> tuple[Array, Array]:
    """How far a number's leading bits are below the row's greatest; whether it has no others."""
    bits = bits.reshape(len(top), -1)
    leading = bits >> DROPPED
    key = jnp.minimum(top[:, None] - leading, LAST)
    alone = ((leading << DROPPED) == bits) & ((key < LAST) | (bits == 0))
    return key, alone


@partial(jax.jit, static_argnums=3)
def _alone_by_column(bits: Array, top: Array, rows: Array, block: int) -> Array:
    """How many numbers of the first rows may have a bin alone, ``[blocks, columns]``."""
    _, alone = _keys(bits, top)
    alone &= lax.iota(jnp.int32, len(top))[:, None] < rows
    return alone.reshape(-1, block, alone.shape[1]).sum(axis=1, dtype=jnp.int32)


@partial(jax.jit, static_argnums=3)
def _count(bits: Array, top: Array, split: Array, layout: bool) -> tuple[Array, Array, Array]:
    """Count the elements of each bin.

    Args:
        bits: The bits of all rows.
        top: The greatest leading bits of each row.
        split: Whether the numbers of each row may have bins alone.
        layout: Whether those of any row may.

    Returns:
        Where the count of each element's bin is, the counts, and for each row the greatest count
        of a bin of different numbers.
    """
    key, alone = _keys(bits, top)
    rows, width = key.shape
    fields, kind = (4, jnp.uint16) if width < 2**16 else (2, jnp.uint32)
    bins = (int(LAST) + 1) * (2 if layout else 1)
    if layout:
        key = 2 * key + (alone & split[:, None])
    row = lax.iota(jnp.uint32, rows)[:, None]
    place = (row // fields * np.uint32(bins) + key) * np.uint32(fields) + row % fields
    place = place.astype(jnp.int32).reshape(-1)
    groups = -(-rows // fields)
    count = jnp.zeros(groups * bins * fields, kind)
    count = count.at[place].add(kind(1), mode="promise_in_bounds").reshape(groups, bins, fields)
    most = count[:, :: 2 if layout else 1].max(axis=1).reshape(-1)
    return place, count, most


@jax.jit
def _look_up(count: Array, running: Array, place: Array, steps: Array) -> Array:
    # The greatest first: so many of the row, less those up to a bin, are below it.
    own, up_to = (at(table.reshape(-1), place).astype(jnp.int32) for table in (count, running))
    return at(steps, own - 2 * up_to + (len(steps) - 1))


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
    """The ranks at positions in a row, which are given doubled and run from 0 to ``width - 1``."""
    scaled = np.multiply(twice, STEPS / (2 * (width - 1)), dtype=np.float64)
    return np.rint(scaled, out=scaled).astype(np.uint8)
