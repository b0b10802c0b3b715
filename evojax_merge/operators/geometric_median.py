"""Geometric median (Weiszfeld, 1937), https://doi.org/10.1007/s10479-008-0352-z"""

from typing import Any

import jax
import jax.numpy as jnp

from evojax_merge.documents.arguments import check_whole
from evojax_merge.operators.base import (
    TINY,
    Coefficient,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    Source,
)
from evojax_merge.operators.statistics import geometry, geometry_name
from evojax_merge.operators.steps.span import Geometry, combine, dot, per_vector
from evojax_merge.operators.steps.sphere import over_sources
from evojax_merge.params.types import Array, Float

NEAREST = 1e-6
"""A source nearer than this share of the mean distance no longer pulls harder."""

WEIGHT = Coefficient(
    "weight",
    0.0,
    1.0,
    1.0,
    description="weight of a source's distance; equal ones give the plain geometric median",
    domain=(0.0, float("inf")),
)


def geometric_median(max_iter: int = 32) -> Operator:
    """The point with the least weighted sum of distances to the sources, robust to an odd one.

    It is found by Weiszfeld's iteration on the K x K squared distances, tensor by tensor. The
    coefficient is the ``weight`` of each source, which is usually in [0, 1] and starts at 1; one
    below 1e-8 counts as 0.

    References:
        E. Weiszfeld, Sur le point pour lequel la somme des distances de n points donnes est
        minimum, 1937 (translated in Annals of Operations Research 167, 2009).

    Args:
        max_iter: The number of iterations; each about halves the error or better.
    """
    check_whole("geometric_median: max_iter", max_iter, 1)

    def init(base: Leaf | None, sources: tuple[Source, ...], layered: bool) -> Geometry:
        return geometry(None, sources, layered)

    def merge(
        base: Leaf | None,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: Geometry,
        key: LeafKey,
    ) -> Float[Array, "..."]:
        distances = statistics.distances
        weights = per_vector(coefficients["weight"], statistics)
        weights = jnp.broadcast_to(weights, statistics.norms.shape)
        weights = jnp.where(weights >= TINY, weights, 0.0)
        smallest = NEAREST**2 * distances.mean(axis=(0, 1))[None]
        count = len(sources)

        def share(pulls: Array) -> Array:
            total = over_sources(pulls)
            return jnp.where(total > 0, pulls / jnp.where(total > 0, total, 1.0), 1.0 / count)

        def step(_: Any, c: Array) -> Array:
            # |m - x_j|^2 = sum of c_i D_ij - (c' D c) / 2, for c that add up to 1.
            across = dot(distances, c)
            square = across - 0.5 * over_sources(c * across)
            square = jnp.maximum(square, smallest)
            return share(weights / jnp.sqrt(jnp.where(square > 0, square, 1.0)))

        return combine(sources, tuple(jax.lax.fori_loop(0, max_iter, step, share(weights))))

    return Operator(
        name="geometric_median",
        coefficients=(WEIGHT,),
        init=init,
        merge=merge,
        needs_base=False,
        sources=(1, None),
        statistics_name=geometry_name(),
    )
