"""Tables of which elements of a task vector are the largest, so that no candidate sorts.

The density of a trim is a multiple of 1 / GRID. That is finer than any published recipe (which
give one or two digits) and far below the step of a search (sigma 1/6), and a table is 8 kB per
tensor, layer and source: 7 MB for a 7 B decoder and three sources.

A search looks its fractions up in a table (`Trim`, `Band`). Where fractions are known before, the
entry alone is made (`TrimCut`, `BandCut`), for any fraction and for any part of a tensor.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt32

from evojax_merge.operators.base import GOLDEN, element_index, spread
from evojax_merge.params.types import Array, Bool, Float

GRID = 1000
"""Densities are multiples of 1 / GRID."""

ALL = np.uint32(0xFFFFFFFF)
"""The cutoff that every rank is at most."""

Number = Float[Array, "..."] | Float[np.ndarray, "..."] | np.float32
"""An entry of a table, in a program or made once on the host."""


def rank(index: Any) -> Any:
    """The order among elements of equal magnitude, by their position in the tensor.

    It is a permutation of 32-bit integers that spreads the first ones evenly over a tensor
    (multiples of the golden ratio), so that no rows are preferred.
    """
    return index * np.uint32(GOLDEN)


class Cut(NamedTuple):
    """A split of a tensor into its c largest elements and the others, for one or more counts c.

    The largest are the elements of greater magnitude than ``threshold``, and those equal to it
    whose `rank` is at most ``cutoff``: with many equal magnitudes, as in bfloat16, the count is
    still exact. (mergekit leaves that choice to an unstable sort.)
    """

    threshold: Number
    cutoff: UInt32[Array, "..."] | UInt32[np.ndarray, "..."] | np.uint32

    def holds(self, magnitude: Any, order: Any) -> Any:
        """The mask of the c largest.

        Args:
            magnitude: The magnitude of every element.
            order: The `rank` of every element.
        """
        threshold, cutoff = (spread(x, magnitude.ndim) for x in self)
        equal = (magnitude == threshold) & (order <= cutoff)
        return (magnitude > threshold) | equal


NOTHING = Cut(np.float32(np.inf), np.uint32(0))
"""The cut that holds no element."""

EVERYTHING = Cut(np.float32(-1.0), ALL)
"""The cut that holds every element."""


class TrimCut(NamedTuple):
    """What keeps the largest elements of a task vector, as many as one density says.

    Attributes:
        cut: The cut that holds the elements kept.
        rescale: The norm before trimming over the norm after, 1 where none was asked for.
        first: The position of the first element, where this is a part of a flat tensor.
    """

    cut: Cut
    rescale: Number = np.float32(1.0)
    first: Any = np.uint32(0)

    def at(self, density: Any) -> "TrimCut":
        """Return this cut, whatever the density: the one it was made for is known."""
        del density
        return self

    def keeps(self, task_vector: Float[Array, "..."]) -> Bool[Array, "..."]:
        """The mask of the elements kept."""
        order = _order(task_vector.shape, self.rescale.ndim == 1, self.first)
        return self.cut.holds(jnp.abs(task_vector), order)


class Trim(NamedTuple):
    """A table with a `TrimCut` for each density of the grid."""

    cut: Cut
    rescale: Float[Array, "*layers grid"]

    def at(self, density: Float[Array, " *layers"]) -> TrimCut:
        """The entries for a density, one for all layers or one for each."""
        step = grid_step(density, self.rescale.shape[:-1])
        cut = Cut(*(take(table, step) for table in self.cut))
        return TrimCut(cut, take(self.rescale, step))


class BandCut(NamedTuple):
    """What keeps the largest elements but for the very largest, as many as two fractions say.

    Attributes:
        upper: The cut that holds the elements dropped because they are the largest.
        lower: The cut that holds those and the elements kept.
        kept: The norm's sum over the elements kept.
        total: The norm's sum over all elements.
        largest_kept: The greatest magnitude kept.
        largest: The greatest magnitude.
        first: The position of the first element, where this is a part of a flat tensor.
    """

    upper: Cut
    lower: Cut
    kept: Number = np.float32(1.0)
    total: Number = np.float32(1.0)
    largest_kept: Number = np.float32(1.0)
    largest: Number = np.float32(1.0)
    first: Any = np.uint32(0)

    def at(self, gamma: Any, density: Any) -> "BandCut":
        """Return these cuts, whatever the fractions: those they were made for are known."""
        del gamma, density
        return self

    def keeps(self, task_vector: Float[Array, "..."]) -> Bool[Array, "..."]:
        """The mask of the elements kept."""
        magnitude = jnp.abs(task_vector)
        order = _order(task_vector.shape, self.kept.ndim == 1, self.first)
        return self.lower.holds(magnitude, order) & ~self.upper.holds(magnitude, order)


class Band(NamedTuple):
    """A table for `BandCut`, with the cuts near each density of the grid.

    With fractions gamma and density, int(gamma n) elements are dropped and the next
    int(density n) kept. Their sum may be one less than int((gamma + density) n). So the tables hold
    the cuts for `OFFSETS` around each count.
    """

    counts: UInt32[Array, "*layers grid"]
    cut: Cut
    sums: Float[Array, "*layers grid offsets"]

    def at(self, gamma: Float[Array, " *layers"], density: Float[Array, " *layers"]) -> BandCut:
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
"""The distances from the count of each density at which a `Band` has cuts."""


def snap(density: Any) -> np.ndarray:
    """The density of the grid that a trim uses for ``density``."""
    return np.rint(np.clip(density, 0.0, 1.0) * GRID) / GRID


def grid_step(density: Float[Array, " *layers"], layers: tuple[int, ...]) -> Any:
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


def _order(shape: tuple[int, ...], layered: bool, first: Any) -> UInt32[Array, "..."]:
    """The order of every element among equals of its tensor, or its layer."""
    return rank(element_index(shape, layered) + first)
