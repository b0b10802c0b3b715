"""Multi-SLERP (Goddard, 2025), https://goddard.blog/posts/multislerp-wow-what-a-cool-idea"""

import jax.numpy as jnp

from evojax_merge.documents.arguments import check_switch
from evojax_merge.operators.base import (
    WEIGHT,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    Source,
    divisor,
    float32,
    task_vectors,
)
from evojax_merge.operators.statistics import geometry, geometry_name
from evojax_merge.operators.steps.span import Geometry, combine, per_vector
from evojax_merge.operators.steps.sphere import apart_from, over_sources, quadratic, unit
from evojax_merge.params.types import Array, Float

SMALLEST = 1e-8
"""A mean direction shorter than this has none: the sources are averaged instead."""

NO_TURN = 1e-30
"""The square of an angle x whose sine and cosine are x and 1 in float32. Roots of smaller ones are
not finite on every device."""


def multislerp(normalize: bool = True, of_task_vectors: bool = False) -> Operator:
    """Interpolate directions in the tangent space at their weighted mean; average the lengths.

    The coefficient is the ``weight`` of each source, which is usually in [0, 1] and starts at 0.5.

    References:
        C. Goddard, Multi-SLERP, 2025. It is one step of `karcher` from the mean, with normalised
        weights. Departure: where the weighted directions cancel, mergekit refuses three or more
        sources; here they are averaged linearly, as it does with two. One source alone is scaled
        by its weight where weights are not normalised; mergekit takes it as it is.

    Args:
        normalize: Divide the weights by their sum.
        of_task_vectors: Interpolate what the sources add to the base; needs a base.
    """
    check_switch("multislerp: normalize", normalize)
    check_switch("multislerp: of_task_vectors", of_task_vectors)

    def init(base: Leaf | None, sources: tuple[Source, ...], layered: bool) -> Geometry:
        return geometry(base if of_task_vectors else None, sources, layered)

    def merge(
        base: Leaf | None,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: Geometry,
        key: LeafKey,
    ) -> Float[Array, "..."]:
        norms, apart, _ = statistics
        weights = coefficients["weight"]
        if normalize:
            weights = weights / divisor(weights.sum(axis=0, keepdims=True))
        weights = per_vector(weights, statistics)
        mean, length = unit(jnp.broadcast_to(weights, norms.shape), apart, SMALLEST)
        cosines = 1.0 - apart_from(mean, apart)
        # Tangents u_i - (u_i . m) m, weighted and added: in terms of the directions again.
        tangent = weights - over_sources(weights * cosines) * mean
        square = jnp.maximum(over_sources(tangent) ** 2 - quadratic(tangent, apart), 0.0)
        curved = square > NO_TURN
        angle = jnp.sqrt(jnp.where(curved, square, 1.0))
        sine = jnp.where(curved, jnp.sin(angle) / angle, 1.0)
        cosine = jnp.where(curved, jnp.cos(angle), 1.0)
        point = cosine * mean + sine * tangent
        scale = over_sources(weights * norms)
        safe = jnp.where(norms > 0, norms, 1.0)
        factors = jnp.where(length > 0, scale * point / safe, weights)
        vectors = task_vectors(base, sources) if of_task_vectors else list(sources)
        merged = combine(vectors, tuple(factors))
        return float32(base) + merged if of_task_vectors else merged

    return Operator(
        name="multislerp",
        coefficients=(WEIGHT,),
        init=init,
        merge=merge,
        needs_base=of_task_vectors,
        sources=(1, None),
        statistics_name=geometry_name(of_task_vectors),
    )
