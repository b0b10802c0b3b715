"""Riemannian (Karcher) mean (Karcher, 1977), https://doi.org/10.1002/cpa.3160300502"""

from typing import Any

import jax
import jax.numpy as jnp

from evojax_merge.documents.arguments import check_number, check_whole
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
from evojax_merge.operators.steps.span import Geometry, combine, per_vector
from evojax_merge.operators.steps.sphere import (
    angle,
    apart_from,
    over_sine,
    over_sources,
    quadratic,
    unit,
)
from evojax_merge.params.types import Array, Float

WEIGHT = Coefficient(
    "weight",
    0.0,
    1.0,
    1.0,
    description="share of a source in the mean; equal ones give the plain Karcher mean",
    domain=(0.0, float("inf")),
)


def karcher(max_iter: int = 10, tol: float = 1e-5) -> Operator:
    """The point on the sphere with the least weighted sum of squared angles to the sources.

    The iteration is m <- exp_m(sum of a_i log_m(u_i)) on the K x K inner products; the lengths are
    averaged with the same weights. The coefficient is the ``weight`` of each source, which is
    usually in [0, 1] and starts at 1. Weights are divided by their sum, and one below 1e-8 counts
    as 0.

    References:
        H. Karcher, Riemannian center of mass and mollifier smoothing, 1977; as in mergekit 0.1.5
        (arXiv 2603.04972), whose weights are all equal. Departure: where no vector is longer than
        ``tol``, the mean has the first one's direction; there it is 0.

    Args:
        max_iter: How many iterations are made at most.
        tol: A step, an angle or a length below this counts as none.
    """
    check_whole("karcher: max_iter", max_iter, 1)
    check_number("karcher: tol", tol, 0.0)

    def init(base: Leaf | None, sources: tuple[Source, ...], layered: bool) -> Geometry:
        return geometry(None, sources, layered)

    def merge(
        base: Leaf | None,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: Geometry,
        key: LeafKey,
    ) -> Float[Array, "..."]:
        norms, apart, _ = statistics
        weights = jnp.broadcast_to(per_vector(coefficients["weight"], statistics), norms.shape)
        weights = jnp.where(weights >= TINY, weights, 0.0)
        total = over_sources(weights)
        alphas = weights / jnp.where(total > 0, total, 1.0)
        scale = over_sources(alphas * norms)
        present = jnp.where(norms > tol, alphas, 0.0)
        present_total = over_sources(present)
        shares = present / jnp.where(present_total > 0, present_total, 1.0)
        mean, length = unit(shares, apart, tol)
        # Directions that cancel: start from the first one that counts, as mergekit does.
        first = jax.nn.one_hot(jnp.argmax(present > 0, axis=0), len(sources), axis=0)
        mean = jnp.where(length > 0, mean, first)

        def step(_: Any, mean: Array) -> Array:
            away = apart_from(mean, apart)
            theta = angle(away)
            pull = jnp.where(theta < tol, 0.0, shares * over_sine(theta))
            # Sum of pull_i (u_i - (u_i . m) m).
            tangent = pull - over_sources(pull * (1.0 - away)) * mean
            square = over_sources(tangent) ** 2 - quadratic(tangent, apart)
            moves = square >= tol**2
            length = jnp.sqrt(jnp.where(moves, square, 1.0))
            moved = jnp.cos(length) * mean + jnp.sin(length) / length * tangent
            return jnp.where(moves, unit(moved, apart)[0], mean)

        mean = jax.lax.fori_loop(0, max_iter, step, mean)
        factors = scale * mean / jnp.where(norms > 0, norms, 1.0)
        return combine(sources, tuple(factors))

    return Operator(
        name="karcher",
        coefficients=(WEIGHT,),
        init=init,
        merge=merge,
        needs_base=False,
        sources=(1, None),
        statistics_name=geometry_name(),
    )
