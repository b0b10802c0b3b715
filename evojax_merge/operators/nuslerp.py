"""NuSLERP (Goddard, 2024), https://github.com/arcee-ai/mergekit/blob/main/docs/merge_methods.md#nuslerp"""

import jax.numpy as jnp

from evojax_merge.documents.arguments import check_option, check_switch
from evojax_merge.operators.base import (
    WEIGHT,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    Source,
    float32,
    task_vectors,
)
from evojax_merge.operators.statistics import geometry, geometry_name
from evojax_merge.operators.steps.span import Along, Geometry, combine, per_vector
from evojax_merge.operators.steps.sphere import arc
from evojax_merge.params.types import Array, Float

COLLINEAR = 5e-17
"""The value of 1 - abs(cos) up to which slerp is linear: mergekit's 1 - cos^2 <= 1e-16. Where
directions are opposite, float32 holds 1 + cos to 1e-7 only: nearer to -1 slerp is linear too."""

NO_DIRECTION = 1e-7
"""A vector no longer than this has no direction."""

SMALLEST_SUM = 1e-6
"""Weights whose sum is below this count as equal."""


def nuslerp(along: Along = "tensor", of_task_vectors: bool = False) -> Operator:
    """Slerp between two sources by their weights: of whole tensors, of rows or of columns.

    t is w2 / (w1 + w2), or 0.5 where the sum vanishes. The coefficient is the ``weight`` of each
    source, which is usually in [0, 1] and starts at 0.5.

    References:
        C. Goddard, mergekit 0.1.5. The coefficients multiply the vectors as they are, so that
        lengths are interpolated with the directions.

    Args:
        along: What is one vector: the whole ``tensor`` (mergekit's nuslerp_flatten), its ``rows``
            (last axis) or its ``columns`` (first axis; mergekit's nuslerp_row_wise).
        of_task_vectors: Interpolate what the sources add to the base; needs a base.
    """
    check_option("nuslerp: along", along, ("tensor", "rows", "columns"))
    check_switch("nuslerp: of_task_vectors", of_task_vectors)

    def init(base: Leaf | None, sources: tuple[Source, ...], layered: bool) -> Geometry:
        origin = base if of_task_vectors else None
        return geometry(origin, sources, layered, along, NO_DIRECTION)

    def merge(
        base: Leaf | None,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: Geometry,
        key: LeafKey,
    ) -> Float[Array, "..."]:
        first, second = per_vector(coefficients["weight"], statistics)
        total = first + second
        usable = jnp.abs(total) >= SMALLEST_SUM
        t = jnp.where(usable, second / jnp.where(usable, total, 1.0), 0.5)
        factors = arc(statistics.apart[0, 1], t, COLLINEAR)
        if of_task_vectors:
            return float32(base) + combine(task_vectors(base, sources), factors)
        return combine(sources, factors)

    return Operator(
        name="nuslerp",
        coefficients=(WEIGHT,),
        init=init,
        merge=merge,
        needs_base=of_task_vectors,
        sources=(2, 2),
        statistics_name=geometry_name(of_task_vectors, along, NO_DIRECTION),
    )
