"""Order statistics of whole tensors, for tables that are made once so that no candidate sorts.

A tensor's numbers are ordered from the greatest; equal ones by `rank`, a permutation of their
indices, so that "the c greatest" is one set for any c, and these sets nest. On the host this is a
radix selection: a histogram of the leading bits leaves only the few elements that share them with
one of the numbers asked for, and so on through all bits. It reads a tensor about twice, where a
sort would read it twenty times. On a GPU the device's own sort is used.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

T = TypeVar("T")
R = TypeVar("R")

ALL = np.uint32(0xFFFFFFFF)
"""The cutoff that every rank is at most."""

MOST_THREADS = 8
"""Tensors worked on at once; each takes up to 32 bytes an element."""

SMALL = 2**16
"""A tensor of fewer elements is sorted."""

PIECE = 2**17
"""Elements worked on at once: few enough to stay in the cache."""

DIGITS = ((0, 16, 16), (0, 8, 8), (0, 0, 8), (1, 24, 8), (1, 16, 8), (1, 8, 8), (1, 0, 8))
"""Of an element's order: which of (value, rank), the shift, and the bits of each digit."""


class Selection(NamedTuple):
    """The c-th greatest number of a tensor for each of many counts c, and sums over the c greatest.

    The c greatest are the elements above ``threshold`` and those equal to it whose `rank` is at
    most ``cutoff``. For c = 0 the threshold is infinite.

    Attributes:
        threshold: float32, by count.
        cutoff: uint32, by count.
        sums: float64, ``[weights, counts]``: the sum of each weight over the c greatest.
    """

    threshold: np.ndarray
    cutoff: np.ndarray
    sums: np.ndarray


def rank(index: Any) -> Any:
    """The order among equal numbers: a permutation of 32-bit integers that spreads the first ones
    evenly over a tensor (multiples of the golden ratio), so that no rows are preferred.
    """
    return index * np.uint32(0x9E3779B9)


def select(values: np.ndarray, counts: np.ndarray, weights: Sequence[np.ndarray] = ()) -> Selection:
    """Find the c-th greatest number for every count.

    Args:
        values: float32 ``[n]``, none negative, none NaN.
        counts: Integers from 0 to n, in any order.
        weights: Arrays like ``values``, to be summed over the c greatest of them.
    """
    wanted, position = np.unique(np.asarray(counts, np.int64), return_inverse=True)
    zero = wanted == 0
    values = np.ascontiguousarray(values)
    if values.size < SMALL:
        method = _sort
    else:
        method = _sort_on_device if jax.default_backend() == "gpu" else _radix_select
    found = method(values, wanted[~zero], weights)
    threshold = np.r_[np.full(zero.sum(), np.inf, np.float32), found.threshold]
    cutoff = np.r_[np.zeros(zero.sum(), np.uint32), found.cutoff]
    sums = np.concatenate([np.zeros((len(weights), zero.sum())), found.sums], axis=1)
    return Selection(threshold[position], cutoff[position], sums[:, position])


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Map over tensors; NumPy leaves the interpreter's lock in most of what is done to them."""
    with ThreadPoolExecutor(min(MOST_THREADS, cpu_count() or 1)) as pool:
        return list(pool.map(function, items))


class _Piece(NamedTuple):
    """Elements that share the digits so far with a number asked for, and with which of them."""

    where: np.ndarray | slice
    word: np.ndarray
    group: np.ndarray | int


def _radix_select(
    values: np.ndarray, counts: np.ndarray, weights: Sequence[np.ndarray]
) -> Selection:
    bits = values.view(np.uint32)
    parts = [slice(i, min(i + PIECE, values.size)) for i in range(0, values.size, PIECE)]
    # A non-negative float32 orders as its bits do; their complement puts the greatest first.
    pieces = [_Piece(part, ~bits[part], 0) for part in parts]
    found = np.zeros((2, len(counts)), np.uint32)  # bits of the value and of the rank, as known
    sums = np.zeros((len(weights), len(counts)))
    asked = np.arange(len(counts))
    left = counts.astype(np.int64)
    owner = np.zeros(len(counts), np.int64)
    for which, shift, width in DIGITS:
        if not len(asked):
            break
        if (which, shift) == (1, 24):
            pieces = [piece._replace(word=rank(_indices(piece.where))) for piece in pieces]
        size = 1 << width
        bins = (int(owner.max()) + 1) * size
        keys = [_key(piece, shift, width) for piece in pieces]
        histogram = np.sum([np.bincount(key, minlength=bins) for key in keys], axis=0)
        total = np.cumsum(histogram)
        offset = np.r_[0, total][owner * size]
        bucket = np.searchsorted(total, offset + left)
        left -= total[bucket] - histogram[bucket] - offset
        found[which, asked] |= ((bucket - owner * size) << shift).astype(np.uint32)
        complete = (left == histogram[bucket]) & ((which == 1) | (shift == 0))
        for number, weight in enumerate(weights):
            masses = [
                np.bincount(key, weight[piece.where], bins)
                for key, piece in zip(keys, pieces, strict=True)
            ]
            mass = np.sum(masses, axis=0)
            total = np.cumsum(mass)
            sums[number, asked] += total[bucket] - np.r_[0.0, total][owner * size]
            sums[number, asked] -= np.where(complete, 0.0, mass[bucket])
        # All that share these digits are taken: whatever the digits that follow.
        found[1, asked[complete]] |= ALL if which == 0 else np.uint32((1 << shift) - 1)

        asked, left = asked[~complete], left[~complete]
        names, owner = np.unique(bucket[~complete], return_inverse=True)
        group_of = np.full(bins, -1, np.int32)
        group_of[names] = np.arange(len(names))
        pieces = [_narrow(piece, group_of[key]) for key, piece in zip(keys, pieces, strict=True)]
    return Selection((~found[0]).view(np.float32), found[1], sums)


def _key(piece: _Piece, shift: int, width: int) -> np.ndarray:
    digit = ((piece.word >> np.uint32(shift)) & np.uint32((1 << width) - 1)).view(np.int32)
    return digit if isinstance(piece.group, int) else (piece.group << np.int32(width)) | digit


def _narrow(piece: _Piece, group: np.ndarray) -> _Piece:
    kept = np.flatnonzero(group >= 0)
    if len(kept) == len(group):
        return piece._replace(group=group)
    index = (
        np.uint32(piece.where.start) + kept.astype(np.uint32)
        if isinstance(piece.where, slice)
        else piece.where[kept]
    )
    return _Piece(index, piece.word[kept], group[kept])


def _indices(index: np.ndarray | slice) -> np.ndarray:
    if isinstance(index, slice):
        return np.arange(index.start, index.stop, dtype=np.uint32)
    return index


def _sort(values: np.ndarray, counts: np.ndarray, weights: Sequence[np.ndarray]) -> Selection:
    """The same for a small tensor, by sorting it."""
    order = (~values.view(np.uint32)).astype(np.uint64) << np.uint64(32)
    order |= rank(np.arange(values.size, dtype=np.uint32))
    places = np.argsort(order)
    last = order[places[counts - 1]]
    sums = [np.cumsum(weight[places], dtype=np.float64)[counts - 1] for weight in weights]
    return Selection(
        (~(last >> np.uint64(32)).astype(np.uint32)).view(np.float32),
        (last & np.uint64(ALL)).astype(np.uint32),
        np.array(sums).reshape(len(weights), len(counts)),
    )


def _sort_on_device(
    values: np.ndarray, counts: np.ndarray, weights: Sequence[np.ndarray]
) -> Selection:
    order = ~jnp.asarray(values).view(jnp.uint32)
    ranks = rank(jnp.arange(values.size, dtype=jnp.uint32))
    order, ranks, *carried = jax.lax.sort((order, ranks, *map(jnp.asarray, weights)), num_keys=2)
    last = jnp.asarray(counts - 1)
    sums = [np.cumsum(np.asarray(weight), dtype=np.float64)[counts - 1] for weight in carried]
    return Selection(
        (~np.asarray(order[last])).view(np.float32),
        np.asarray(ranks[last]),
        np.array(sums).reshape(len(weights), len(counts)),
    )
