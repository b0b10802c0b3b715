"""TIES-Merging (Yadav et al., 2023), https://arxiv.org/abs/2306.01708"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evojax_merge.operators.base import DENSITY, Leaf, LeafKey, Operator, Source
from evojax_merge.operators.statistics import (
    Tensors,
    cuts_of,
    in_threads,
    orders_of_magnitude,
    select,
    stack_layers,
    sums_between,
)
from evojax_merge.operators.steps.cuts import (
    EVERYTHING,
    GRID,
    NOTHING,
    Cut,
    Trim,
    TrimCut,
    grid_counts,
)
from evojax_merge.operators.steps.task_vectors import trim_elect_add
from evojax_merge.operators.steps.trimming import (
    SMALLEST_NORM,
    Kept,
    Norm,
    Rescale,
    Trimming,
    inverse_or,
    norm_of,
)
from evojax_merge.params.types import Array


def ties(normalize: bool = True, rescale: Rescale | None = None, lam: float = 1.0) -> Operator:
    """Trim each task vector to its largest elements, elect a sign, merge those that agree.

    The coefficients of each source are ``weight`` and ``density`` (what is kept, in steps of
    1/1000). Both are usually in [0, 1] and start at 0.5; the paper's density is 0.2.

    References:
        Yadav et al., TIES-Merging: resolving interference when merging models, arXiv 2306.01708,
        algorithm 1. Weights are mergekit's extension of it.

    Args:
        normalize: Divide by the sum of the weights that agree (the paper's disjoint mean).
        rescale: Give each trimmed task vector the norm that it had; l1 is mergekit's option.
        lam: The scale of the merged task vector, lambda in the paper.
    """
    return trim_elect_add(
        by_magnitude,
        name="ties",
        consensus="sum",
        normalize=normalize,
        rescale=rescale,
        lam=lam,
    )


def by_magnitude(rescale: Rescale | None = None) -> Trimming:
    """Keep the largest max(1, int(density x n)) of n elements (step 1 of the algorithm)."""
    norm = norm_of(rescale)

    def apply(
        task_vector: Array,
        statistics: Trim | TrimCut,
        values: dict[str, Array],
        key: LeafKey,
        source: int,
    ) -> Kept:
        trim = statistics.at(values["density"])
        scale = inverse_or(trim.rescale, values["density"], rescale)
        return Kept(trim.keeps(task_vector), scale)

    def init(base: Leaf, sources: Sequence[Source], layered: bool) -> tuple[Trim, ...]:
        return tuple(in_threads(lambda source: trim_table(base, source, layered, norm), sources))

    def init_fixed(tensors: Tensors, coefficients: Mapping[str, Any]) -> list[TrimCut]:
        return trim_cuts(tensors, coefficients["density"], norm)

    return Trimming((DENSITY,), apply, init, init_fixed, statistics_name=f"trim {norm}")


def trim_table(base: Leaf, source: Source, layered: bool, norm: Norm | None = None) -> Trim:
    """Order the task vector of one source, each layer by itself.

    At density i / GRID, max(1, int(i / GRID x n)) of n elements are kept; none are at 0.

    Args:
        base: The leaf of the base.
        source: The leaf of the source.
        layered: Whether the first axis counts layers.
        norm: The norm that ``rescale`` restores.
    """

    of_layer = orders_of_magnitude(base, source, layered)

    def table(layer: int) -> tuple[Any, ...]:
        order = of_layer(layer)
        counts = grid_counts(order.size)
        counts[1:] = np.maximum(counts[1:], 1)
        found = select(order, counts, {"l1": 1, "l2": 2}.get(norm or ""))
        # The largest element is kept at every density but 0: its norm does not change.
        kept = np.ones(GRID + 1) if found.sums is None else found.sums
        norms = np.sqrt(kept) if norm == "l2" else kept
        factor = np.ones(GRID + 1)
        np.divide(norms[-1], norms, out=factor, where=norms >= SMALLEST_NORM)
        return (*found.cut, factor.astype(np.float32))

    threshold, cutoff, rescale = stack_layers(table, base, layered)
    return Trim(Cut(threshold, cutoff), rescale)


def trim_cuts(
    tensors: Tensors, densities: Sequence[float], norm: Norm | None = None
) -> list[TrimCut]:
    """Find the cut of each source at a density of its own, which need not be on the grid.

    Args:
        tensors: One flat tensor of the base and of every source.
        densities: The fraction of each source that is kept.
        norm: The norm that ``rescale`` restores.
    """
    trims = [TrimCut(EVERYTHING if density >= 1 else NOTHING) for density in densities]
    asked = [index for index, density in enumerate(densities) if 0 < density < 1]
    chosen = tensors.of(asked)
    counts = [[max(1, int(densities[index] * tensors.size))] for index in asked]
    cuts = [cut for (cut,) in cuts_of(chosen.magnitudes, counts)]
    # The largest element is kept: its norm does not change.
    restored = None if norm == "linf" else norm
    sums = sums_between(chosen, [(NOTHING, cut) for cut in cuts], restored)
    for index, cut, own in zip(asked, cuts, sums, strict=True):
        kept, total = np.sqrt(own) if norm == "l2" else own
        factor = total / kept if kept >= SMALLEST_NORM else 1.0
        trims[index] = TrimCut(cut, np.float32(factor))
    return trims
