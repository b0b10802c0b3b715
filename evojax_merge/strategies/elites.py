"""Elites, and the grid over descriptors whose cells keep the best genotype each."""

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import check_whole
from evojax_merge.params.types import Array, Bool, Float, Genotype, Int

LIMIT_GB = 4.0
"""How much the genotypes of all cells may take: the state is saved after each generation."""


class DescriptorRangeWarning(UserWarning):
    """A task's score lies outside the range of its descriptor and counts as the nearest end."""


class Elites(NamedTuple):
    """The elites of an archive, one in each cell; the quality of an empty cell is -inf."""

    genotypes: Float[Array, "cells dims"]
    objectives: Float[Array, "cells tasks"]
    quality: Float[Array, " cells"]

    @property
    def occupied(self) -> Bool[Array, "*grids cells"]:
        """Which cells have an elite."""
        return self.quality > -jnp.inf

    def add(
        self,
        cell: Int[Array, ""],
        genotype: Genotype,
        objectives: Float[Array, " tasks"],
        quality: Float[Array, ""],
    ) -> "Elites":
        """The elites after a candidate was compared with that of its cell.

        A candidate with an objective or a quality that is not finite becomes no elite.
        """
        finite = jnp.isfinite(objectives).all() & jnp.isfinite(quality)
        better = finite & (quality > self.quality[cell])
        place = jnp.where(better, cell, len(self.quality))  # beyond the archive nothing is set
        return Elites(
            self.genotypes.at[place].set(genotype, mode="drop"),
            self.objectives.at[place].set(objectives, mode="drop"),
            self.quality.at[place].set(quality, mode="drop"),
        )


def empty_elites(cells: int, dims: int, tasks: int) -> Elites:
    """An archive without elites."""
    return Elites(
        jnp.zeros((cells, dims)), jnp.zeros((cells, tasks)), jnp.full(cells, -jnp.inf, jnp.float32)
    )


class Descriptors(NamedTuple):
    """The way in which scores become cells.

    Attributes:
        bins: The number of bins of each descriptor.
        low: Where the first bin of each descriptor begins.
        high: Where the last bin of each ends; a score of ``high`` is in it.
    """

    bins: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def among(self, places: Sequence[int]) -> "Descriptors":
        """Some of the descriptors."""
        return Descriptors(
            tuple(self.bins[place] for place in places),
            tuple(self.low[place] for place in places),
            tuple(self.high[place] for place in places),
        )

    @property
    def cells(self) -> int:
        """The number of cells of the grid."""
        return math.prod(self.bins)

    def indices(self, scores: Float[Array, " descriptors"]) -> Int[Array, " descriptors"]:
        """The bin of each score; a score outside the range has the nearest one."""
        low, high = jnp.float32(self.low), jnp.float32(self.high)
        bins = jnp.int32(self.bins)
        index = jnp.floor((scores - low) / (high - low) * bins)
        return jnp.clip(jnp.nan_to_num(index), 0, bins - 1).astype(jnp.int32)

    def cell(self, scores: Float[Array, " descriptors"]) -> Int[Array, ""]:
        """The cell of a candidate."""
        strides = [math.prod(self.bins[place + 1 :]) for place in range(len(self.bins))]
        return jnp.sum(self.indices(scores) * jnp.int32(strides))

    def all_indices(self) -> np.ndarray:
        """The bins of every cell, ``[cells, descriptors]``."""
        return np.array(list(itertools.product(*map(range, self.bins))), np.int32)

    def warn_outside(
        self, names: Sequence[str], scores: Float[np.ndarray, "pop descriptors"]
    ) -> None:
        """Say which scores are outside their descriptor's range.

        Args:
            names: The names of the descriptors.
            scores: The scores of the candidates.

        Warns:
            DescriptorRangeWarning: Some scores are outside.
        """
        for name, low, high, column in zip(names, self.low, self.high, scores.T, strict=True):
            finite = column[np.isfinite(column)]
            if len(outside := finite[(finite < low) | (finite > high)]):
                warnings.warn(
                    f"{name} scored {outside[0]:g}, outside the range of its descriptor, [{low:g}, "
                    f"{high:g}]: it counts as the nearest end; set strategy.ranges to what "
                    "scores can be",
                    DescriptorRangeWarning,
                    stacklevel=4,
                )


def make_descriptors(names: Sequence[str], bins: Any, ranges: Any) -> Descriptors:
    """Check and gather the bins and ranges of descriptors.

    Args:
        names: The names of the descriptors.
        bins: A number of bins for all, or one for each.
        ranges: A range [low, high] for all, or one for each.

    Raises:
        ValueError: There is no descriptor, there are more or fewer numbers than descriptors, there
            is less than 1 bin, or a range is not finite and rising.
    """
    if not names:
        raise ValueError("strategy.descriptors is empty; give at least one task")
    counts = list(bins) if isinstance(bins, Sequence) else [bins] * len(names)
    pairs = list(ranges)
    if len(pairs) == 2 and not any(isinstance(end, Sequence) for end in pairs):
        pairs = [pairs] * len(names)
    for what, given in (("bins", counts), ("ranges", pairs)):
        if len(given) != len(names):
            raise ValueError(
                f"strategy.{what} has {len(given)} entries for {len(names)} descriptors "
                f"({', '.join(names)}); give one for all, or one for each"
            )
    for name, pair in zip(names, pairs, strict=True):
        numbers = isinstance(pair, Sequence) and all(isinstance(end, int | float) for end in pair)
        if not (numbers and len(pair) == 2 and np.isfinite(pair).all() and pair[0] < pair[1]):
            raise ValueError(
                f"strategy.ranges of {name} is {pair!r}; give [low, high], two finite numbers, the "
                "lower one first"
            )
    return Descriptors(
        tuple(check_whole("strategy.bins", count, 1) for count in counts),
        tuple(float(low) for low, _ in pairs),
        tuple(float(high) for _, high in pairs),
    )


def check_memory(cells: int, dims: int) -> None:
    """Check that the genotypes of so many cells can be held.

    Raises:
        ValueError: They take more than `LIMIT_GB`.
    """
    size = cells * dims * 4 / 1e9
    if size > LIMIT_GB:
        raise ValueError(
            f"an archive of {cells} cells with {dims} genes each takes {size:.1f} GB, more than "
            f"{LIMIT_GB:g}; set strategy.bins lower, or use fewer descriptors or a smaller space"
        )
