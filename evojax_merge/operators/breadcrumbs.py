"""Model Breadcrumbs (Davari and Belilovsky, 2023), https://arxiv.org/abs/2312.06795"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from evojax_merge.operators.base import DENSITY, Coefficient, Leaf, LeafKey, Operator, Source
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
    NOTHING,
    OFFSETS,
    Band,
    BandCut,
    Cut,
    grid_counts,
)
from evojax_merge.operators.steps.task_vectors import trim_elect_add
from evojax_merge.operators.steps.trimming import (
    Kept,
    Norm,
    Rescale,
    Trimming,
    inverse_or,
    norm_of,
    ratio,
)
from evojax_merge.params.types import Array

GAMMA = Coefficient(
    "gamma",
    0.0,
    0.05,
    0.01,
    description="fraction of a task vector's largest elements that is dropped",
    domain=(0.0, 1.0),
)


def breadcrumbs(
    normalize: bool = False, rescale: Rescale | None = None, lam: float = 1.0
) -> Operator:
    """Drop the largest and the smallest elements of each task vector, then add.

    The coefficients of each source are ``weight``, ``density`` (what is kept) and ``gamma`` (the
    fraction of largest elements dropped). The first two are usually in [0, 1] and start at 0.5;
    gamma is usually in [0, 0.05] and starts at 0.01. The last two are fractions of whole tensors,
    in steps of 1/1000.

    References:
        Davari and Belilovsky, Model breadcrumbs: scaling multi-task model merging with sparse
        masks, arXiv 2312.06795; their beta is density + gamma counted from the top. Weights are
        mergekit's extension.

    Args:
        normalize: Divide the sum by the sum of weights, by 1 where that is below 1e-8.
        rescale: Give each trimmed task vector the norm that it had.
        lam: The scale of the merged task vector, alpha in the paper.
    """
    return trim_elect_add(
        without_outliers,
        name="breadcrumbs",
        consensus="none",
        normalize=normalize,
        rescale=rescale,
        lam=lam,
    )


def breadcrumbs_ties(
    normalize: bool = False, rescale: Rescale | None = None, lam: float = 1.0
) -> Operator:
    """`breadcrumbs` with the sign election of TIES (Yadav et al., 2306.01708) before the sum."""
    return trim_elect_add(
        without_outliers,
        name="breadcrumbs_ties",
        consensus="sum",
        normalize=normalize,
        rescale=rescale,
        lam=lam,
    )


def without_outliers(rescale: Rescale | None = None) -> Trimming:
    """The largest int(gamma x n) elements are dropped and the next int(density x n) kept.

    Fewer are dropped where gamma + density exceed 1; at density 1 all are kept.
    """
    norm = norm_of(rescale)

    def apply(
        task_vector: Array,
        statistics: Band | BandCut,
        values: dict[str, Array],
        key: LeafKey,
        source: int,
    ) -> Kept:
        band = statistics.at(values["gamma"], values["density"])
        before, after = {
            "l2": (jnp.sqrt(band.total), jnp.sqrt(jnp.maximum(band.kept, 0.0))),
            "linf": (band.largest, band.largest_kept),
        }.get(rescale or "", (band.total, band.kept))
        factor = ratio(before, after) if rescale else jnp.ones_like(before)
        return Kept(band.keeps(task_vector), inverse_or(factor, values["density"], rescale))

    def init(base: Leaf, sources: Sequence[Source], layered: bool) -> tuple[Band, ...]:
        return tuple(in_threads(lambda source: band_table(base, source, layered, norm), sources))

    def init_fixed(tensors: Tensors, coefficients: Mapping[str, Any]) -> list[BandCut]:
        return band_cuts(tensors, coefficients["density"], coefficients["gamma"], norm)

    return Trimming((DENSITY, GAMMA), apply, init, init_fixed, statistics_name=f"band {norm}")


def band_table(base: Leaf, source: Source, layered: bool, norm: Norm | None = None) -> Band:
    """Order the task vector of one source, each layer by itself, for cuts at both ends.

    Args:
        base: The leaf of the base.
        source: The leaf of the source.
        layered: Whether the first axis counts layers.
        norm: What is summed: absolute values for l1, squares for l2.
    """

    of_layer = orders_of_magnitude(base, source, layered)

    def table(layer: int) -> tuple[Any, ...]:
        order = of_layer(layer)
        counts = grid_counts(order.size)
        near = np.clip(counts[:, None] + np.array(OFFSETS), 0, order.size)
        found = select(order, near.ravel(), {"l1": 1, "l2": 2}.get(norm or ""))
        sums = np.ones(near.size) if found.sums is None else found.sums
        cut = (x.reshape(near.shape) for x in found.cut)
        return (counts.astype(np.uint32), *cut, sums.reshape(near.shape).astype(np.float32))

    counts, threshold, cutoff, sums = stack_layers(table, base, layered)
    return Band(counts, Cut(threshold, cutoff), sums)


def band_cuts(
    tensors: Tensors,
    densities: Sequence[float],
    gammas: Sequence[float],
    norm: Norm | None = None,
) -> list[BandCut]:
    """Find the cuts of each source at fractions of its own, which need not be on the grid.

    Args:
        tensors: One flat tensor of the base and of every source.
        densities: The fraction of each source that is kept.
        gammas: The fraction of each source's largest elements that is dropped.
        norm: What ``rescale`` restores.
    """
    bands = [BandCut(NOTHING, EVERYTHING) for _ in densities]
    asked = [index for index, density in enumerate(densities) if density < 1]
    chosen = tensors.of(asked)
    counts = []
    for index in asked:
        width = int(densities[index] * tensors.size)
        dropped = min(int(gammas[index] * tensors.size), tensors.size - width)
        counts.append([dropped, dropped + width])
    bounds = [(upper, lower) for upper, lower in cuts_of(chosen.magnitudes, counts)]
    sums = sums_between(chosen, bounds, norm)
    for index, (upper, lower), own in zip(asked, bounds, sums, strict=True):
        kept, total = (np.float32(x) for x in own)
        # For linf the two are the greatest magnitudes, which are looked up under other names.
        bands[index] = BandCut(upper, lower, kept, total, kept, total)
    return bands
