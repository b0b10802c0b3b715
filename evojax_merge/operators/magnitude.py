"""Thresholds of magnitude, sorted once before a search so that no candidate sorts.

The density of a trim is a multiple of 1 / GRID. That is finer than any published recipe (which
give one or two digits) and far below the step of a search (sigma 1/6), and a table is 8 kB per
tensor, layer and source: 7 MB for a 7 B decoder and three sources.
"""

from concurrent.futures import ThreadPoolExecutor
from math import prod
from os import cpu_count
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import UInt32

from evojax_merge.operators.base import Leaf, spread
from evojax_merge.operators.host import rows
from evojax_merge.types import Array, Bool, Float

GRID = 1000
"""Densities are multiples of 1 / GRID."""

SMALLEST_NORM = 1e-7
"""Below this l1 norm a trimmed task vector is not rescaled (as in mergekit)."""

MOST_THREADS = 8
"""Rows sorted at once; each takes 24 bytes an element."""


class Trim(NamedTuple):
    """The smallest kept element of a task vector and the l1 factor, at each density of the grid.

    Kept are the elements of greater magnitude than ``threshold``, and those equal to it whose
    `rank` is at most ``cutoff``: with many equal magnitudes, as in bfloat16, the count is still
    exact. (mergekit leaves that choice to an unstable sort.) ``rescale`` is the l1 norm before
    trimming over the one after.
    """

    threshold: Float[Array, "*layers grid"]
    cutoff: UInt32[Array, "*layers grid"]
    rescale: Float[Array, "*layers grid"]

    def at(self, density: Float[Array, "*layers"]) -> "Trim":
        """The entries for a density, one for all layers or one for each."""
        step = jnp.rint(jnp.clip(density, 0.0, 1.0) * GRID).astype(jnp.int32)
        step = jnp.broadcast_to(step, self.threshold.shape[:-1])[..., None]
        return Trim(*(jnp.take_along_axis(table, step, axis=-1)[..., 0] for table in self))

    def keeps(self, task_vector: Float[Array, "..."]) -> Bool[Array, "..."]:
        """The mask of the elements kept, for a Trim taken at one density."""
        ndim = task_vector.ndim
        magnitude = jnp.abs(task_vector)
        threshold = spread(self.threshold, ndim)
        order = rank(element_index(task_vector.shape, layered=self.threshold.ndim == 1))
        equal = (magnitude == threshold) & (order <= spread(self.cutoff, ndim))
        return (magnitude > threshold) | equal


def snap(density: Any) -> np.ndarray:
    """The density of the grid that a trim uses for ``density``."""
    return np.rint(np.clip(density, 0.0, 1.0) * GRID) / GRID


def element_index(shape: tuple[int, ...], layered: bool) -> UInt32[Array, "..."]:
    """The row-major position of every element in its tensor, or in its layer."""
    index = jnp.zeros(shape, jnp.uint32)
    for axis in range(int(layered), len(shape)):
        stride = np.uint32(prod(shape[axis + 1 :]))
        index = index + lax.broadcasted_iota(jnp.uint32, shape, axis) * stride
    return index


def rank(index: Any) -> Any:
    """The order among equal magnitudes: a permutation of 32-bit integers that spreads the first
    ones evenly over a tensor (multiples of the golden ratio), so that no rows are preferred.
    """
    return index * np.uint32(0x9E3779B9)


def trim_table(base: Leaf, source: Leaf, layered: bool) -> Trim:
    """Sort the task vector of one source, each layer by itself.

    At density i / GRID max(1, int(i / GRID x n)) of n elements are kept, none at 0.
    """
    origins, ends = rows(base, layered), rows(source, layered)

    def table(layer: int) -> Trim:
        return _sort(ends[layer].astype(np.float32) - origins[layer].astype(np.float32))

    # NumPy releases the interpreter's lock while it sorts.
    with ThreadPoolExecutor(min(MOST_THREADS, cpu_count() or 1)) as pool:
        layers = list(pool.map(table, range(len(origins))))
    columns = (np.stack(column) if layered else column[0] for column in zip(*layers, strict=True))
    return Trim(*(jnp.asarray(column) for column in columns))


def _sort(task_vector: np.ndarray) -> Trim:
    # One 64-bit integer orders by magnitude, then by rank: a non-negative float32 orders as its
    # bits do, and their complement puts the greatest first.
    bits = np.abs(task_vector).view(np.uint32)
    order = (~bits).astype(np.uint64) << np.uint64(32)
    order |= rank(np.arange(bits.size, dtype=np.uint32))
    densities = np.arange(1, GRID + 1) / GRID
    kept = np.maximum(1, (densities * bits.size).astype(np.int64))
    counts, position = np.unique(kept, return_inverse=True)
    order.partition(counts - 1)

    last = order[kept - 1]
    threshold = _magnitude(last)
    cutoff = (last & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    between = np.add.reduceat(_magnitude(order), np.r_[0, counts[:-1]], dtype=np.float64)
    norms = np.cumsum(between)[position]
    rescale = np.where(norms < SMALLEST_NORM, 1.0, norms[-1] / np.maximum(norms, SMALLEST_NORM))
    return Trim(
        np.r_[np.float32(np.inf), threshold],
        np.r_[np.uint32(0), cutoff],
        np.r_[1.0, rescale].astype(np.float32),
    )


def _magnitude(order: np.ndarray) -> np.ndarray:
    return (~(order >> np.uint64(32)).astype(np.uint32)).view(np.float32)
