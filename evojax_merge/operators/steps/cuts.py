"""Which elements of a task vector are the largest, looked up so that no candidate sorts.

The density of a trim is a multiple of 1 / GRID. That is finer than any published recipe (which
give one or two digits) and far below the step of a search (sigma 1/6), and a table is 8 kB per
tensor, layer and source: 7 MB for a 7 B decoder and three sources.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import UInt32

from evojax_merge.operators.base import Leaf, spread
from evojax_merge.operators.statistics import on_device
from evojax_merge.operators.statistics.numbers import Numbers, moved, rows
from evojax_merge.operators.statistics.ordering import rank
from evojax_merge.operators.statistics.selection import select
from evojax_merge.operators.statistics.threads import in_threads
from evojax_merge.types import Array, Bool, Float

GRID = 1000
"""Densities are multiples of 1 / GRID."""

Norm = Literal["l1", "l2", "linf"]

SMALLEST_NORM = 1e-7
"""Below this norm a trimmed task vector is not rescaled (as in mergekit)."""


class Cut(NamedTuple):
    """Splits a tensor into its c largest elements and the others, for one or more counts c.

    The largest are the elements of greater magnitude than ``threshold``, and those equal to it
    whose `rank` is at most ``cutoff``: with many equal magnitudes, as in bfloat16, the count is
    still exact. (mergekit leaves that choice to an unstable sort.)
    """

    threshold: Float[Array, "*layers"]
    cutoff: UInt32[Array, "*layers"]

    def holds(self, magnitude: Float[Array, "..."], order: UInt32[Array, "..."]) -> Any:
        """The mask of the c largest.

        Args:
            magnitude: Of every element.
            order: The `rank` of every element.
        """
        threshold = spread(self.threshold, magnitude.ndim)
        equal = (magnitude == threshold) & (order <= spread(self.cutoff, magnitude.ndim))
        return (magnitude > threshold) | equal


class Trim(NamedTuple):
    """Keeps the largest elements of a task vector: the cut at each density of the grid.

    ``rescale`` is a norm before trimming over the same after, 1 where none was asked for.
    """

    cut: Cut
    rescale: Float[Array, "*layers grid"]

    def at(self, density: Float[Array, "*layers"]) -> "Trim":
        """The entries for a density, one for all layers or one for each."""
        step = grid_step(density, self.rescale.shape[:-1])
        cut = Cut(*(take(table, step) for table in self.cut))
        return Trim(cut, take(self.rescale, step))

    def keeps(self, task_vector: Float[Array, "..."]) -> Bool[Array, "..."]:
        """The mask of the elements kept, for a Trim taken at one density."""
        return self.cut.holds(
            jnp.abs(task_vector), element_rank(task_vector.shape, self.rescale.ndim == 1)
        )


class Band(NamedTuple):
    """Keeps the largest elements but for the very largest: cuts near each density of the grid.

    With fractions gamma and density, int(gamma n) elements are dropped and the next
    int(density n) kept. Their sum may be one less than int((gamma + density) n): so the tables hold
    the cuts for `OFFSETS` around each count.
    """

    counts: UInt32[Array, "*layers grid"]
    cut: Cut
    sums: Float[Array, "*layers grid offsets"]

    def at(self, gamma: Float[Array, "*layers"], density: Float[Array, "*layers"]) -> "BandCut":
        """The cuts for two fractions, one for all layers or one for each."""
        layers = self.counts.shape[:-1]
        upper, width = grid_step(gamma, layers), grid_step(density, layers)
        none, everything = jnp.zeros_like(width), jnp.full_like(width, GRID)
        total = take(self.counts, everything)
        kept = take(self.counts, width)
        # Where gamma + density reach 1, the smallest elements are kept and fewer dropped.
        dropped = jnp.minimum(take(self.counts, upper), total - kept)
        upper = jnp.minimum(upper, GRID - width)
        lower = upper + width
        top, bottom = self._near(upper, dropped), self._near(lower, dropped + kept)
        all_ = self._near(everything, total)
        return BandCut(
            upper=Cut(*(take(take(table, upper), top) for table in self.cut)),
            lower=Cut(*(take(take(table, lower), bottom) for table in self.cut)),
            kept=take(take(self.sums, lower), bottom) - take(take(self.sums, upper), top),
            total=take(take(self.sums, everything), all_),
            largest_kept=take(take(self.cut.threshold, upper), top + 1),
            largest=take(take(self.cut.threshold, none), self._near(none, none + 1)),
        )

    def _near(self, step: Any, count: Any) -> Any:
        return count.astype(jnp.int32) - take(self.counts, step).astype(jnp.int32) - OFFSETS[0]


OFFSETS = (-1, 0, 1, 2)
"""Around the count of each density."""


class BandCut(NamedTuple):
    """A `Band` at one pair of fractions.

    Attributes:
        upper: Holds the elements dropped because they are the largest.
        lower: Holds those and the ones kept.
        kept: The norm's sum over the kept.
        total: The same over all.
        largest_kept: The greatest magnitude kept.
        largest: The greatest magnitude.
    """

    upper: Cut
    lower: Cut
    kept: Float[Array, "*layers"]
    total: Float[Array, "*layers"]
    largest_kept: Float[Array, "*layers"]
    largest: Float[Array, "*layers"]

    def keeps(self, task_vector: Float[Array, "..."]) -> Bool[Array, "..."]:
        """The mask of the elements kept."""
        magnitude = jnp.abs(task_vector)
        order = element_rank(task_vector.shape, self.kept.ndim == 1)
        return self.lower.holds(magnitude, order) & ~self.upper.holds(magnitude, order)


def snap(density: Any) -> np.ndarray:
    """The density of the grid that a trim uses for ``density``."""
    return np.rint(np.clip(density, 0.0, 1.0) * GRID) / GRID


def grid_step(density: Float[Array, "*layers"], layers: tuple[int, ...]) -> Any:
    """The position in a table of the nearest density of the grid, for each layer."""
    step = jnp.rint(jnp.clip(density, 0.0, 1.0) * GRID).astype(jnp.int32)
    return jnp.broadcast_to(step, layers)


def take(table: Any, step: Any) -> Any:
    """The entry of every layer's table at its own position."""
    index = step.reshape(step.shape + (1,) * (table.ndim - step.ndim))
    return jnp.take_along_axis(table, index, axis=step.ndim).squeeze(step.ndim)


def grid_counts(elements: int) -> np.ndarray:
    """int(density x elements) at every density of the grid."""
    return (np.arange(GRID + 1) / GRID * elements).astype(np.int64)


def element_index(shape: tuple[int, ...], layered: bool) -> UInt32[Array, "..."]:
    """The row-major position of every element in its tensor, or in its layer."""
    index = jnp.zeros(shape, jnp.uint32)
    for axis in range(int(layered), len(shape)):
        stride = np.uint32(prod(shape[axis + 1 :]))
        index = index + lax.broadcasted_iota(jnp.uint32, shape, axis) * stride
    return index


def element_rank(shape: tuple[int, ...], layered: bool) -> UInt32[Array, "..."]:
    """The order of every element among equals of its tensor, or its layer."""
    return rank(element_index(shape, layered))


def trim_table(base: Leaf, source: Leaf, layered: bool, norm: Norm | None = None) -> Trim:
    """Order the task vector of one source, each layer by itself.

    At density i / GRID max(1, int(i / GRID x n)) of n elements are kept, none at 0.

    Args:
        base: Of a leaf.
        source: Likewise.
        layered: Whether the first axis counts layers.
        norm: What ``rescale`` restores.
    """

    def table(layer: int) -> tuple[np.ndarray, ...]:
        magnitude = magnitudes(base, source, layered, layer)
        counts = grid_counts(magnitude.size)
        counts[1:] = np.maximum(counts[1:], 1)
        found = select(magnitude, counts, _power(norm))
        # The largest element is kept at every density but 0: its norm does not change.
        kept = np.ones(GRID + 1) if found.sums is None else found.sums
        norms = _norm(kept, norm)
        factor = np.ones(GRID + 1)
        np.divide(norms[-1], norms, out=factor, where=norms >= SMALLEST_NORM)
        return found.threshold, found.cutoff, factor.astype(np.float32)

    threshold, cutoff, rescale = stack_layers(table, base, layered)
    return Trim(Cut(threshold, cutoff), rescale)


def band_table(base: Leaf, source: Leaf, layered: bool, norm: Norm | None = None) -> Band:
    """Order the task vector of one source, each layer by itself, for cuts at both ends.

    Args:
        base: Of a leaf.
        source: Likewise.
        layered: Whether the first axis counts layers.
        norm: What is summed: absolute values for l1, squares for l2.
    """

    def table(layer: int) -> tuple[np.ndarray, ...]:
        magnitude = magnitudes(base, source, layered, layer)
        counts = grid_counts(magnitude.size)
        near = np.clip(counts[:, None] + np.array(OFFSETS), 0, magnitude.size)
        found = select(magnitude, near.ravel(), _power(norm))
        sums = np.ones(near.size) if found.sums is None else found.sums
        return (
            counts.astype(np.uint32),
            found.threshold.reshape(near.shape),
            found.cutoff.reshape(near.shape),
            sums.reshape(near.shape).astype(np.float32),
        )

    counts, threshold, cutoff, sums = stack_layers(table, base, layered)
    return Band(counts, Cut(threshold, cutoff), sums)


def magnitudes(base: Leaf, source: Leaf, layered: bool, layer: int) -> Numbers | Array:
    """Absolute values of a task vector, on the device where it is better sorted there."""
    if on_device.pays((base, source), np.size(base) // (len(base) if layered else 1)):
        return jnp.abs(on_device.task_vector(base, source, layered, layer))
    return moved(base, source, layered, layer)


def _power(norm: Norm | None) -> int | None:
    """Of what is summed for a norm."""
    return {"l1": 1, "l2": 2}.get(norm or "")


def _norm(sums: np.ndarray, norm: Norm | None) -> np.ndarray:
    return np.sqrt(sums) if norm == "l2" else np.array(sums)


def stack_layers(
    of_layer: Callable[[int], tuple[Any, ...]], leaf: Leaf, layered: bool
) -> list[Array]:
    """Statistics of every layer of a leaf, stacked; those of a whole leaf as they are."""
    columns = zip(*in_threads(of_layer, range(len(rows(leaf, layered)))), strict=True)
    return [_stacked(column) if layered else jnp.asarray(column[0]) for column in columns]


def _stacked(layers: Sequence[Any]) -> Array:
    there = any(isinstance(layer, jax.Array) for layer in layers)
    return jnp.stack(layers) if there else jnp.asarray(np.stack(layers))
