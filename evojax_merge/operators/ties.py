"""TIES-Merging (Yadav et al., 2023), https://arxiv.org/abs/2306.01708"""

from collections.abc import Sequence

import jax.numpy as jnp

from evojax_merge.operators.base import (
    DENSITY,
    WEIGHT,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    divisor,
    float32,
    spread,
    task_vectors,
)
from evojax_merge.operators.magnitude import Trim, trim_table
from evojax_merge.types import Array, Float


def ties(normalize: bool = True, rescale: bool = False, lam: float = 1.0) -> Operator:
    """Trim each task vector to its largest elements, elect a sign, merge those that agree.

    base + lam x `consensus` of weight x trim(source - base, density).

    References:
        Yadav et al., TIES-Merging: resolving interference when merging models, arXiv 2306.01708,
        algorithm 1. Weights are mergekit's extension of it.

    Args:
        normalize: divide by the sum of the weights that agree (the paper's disjoint mean).
        rescale: give each trimmed task vector the l1 norm that it had (mergekit's option).
        lam: scale of the merged task vector, lambda in the paper.
    """

    def init(base: Leaf, sources: tuple[Leaf, ...], layered: bool) -> tuple[Trim, ...]:
        return tuple(trim_table(base, source, layered) for source in sources)

    def merge(
        base: Leaf,
        sources: tuple[Leaf, ...],
        coefficients: Coefficients,
        statistics: tuple[Trim, ...],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        weights, densities = coefficients["weight"], coefficients["density"]
        terms = []
        for source, task_vector in enumerate(task_vectors(base, sources)):
            trim = statistics[source].at(densities[source])
            scale = weights[source] * trim.rescale if rescale else weights[source]
            scaled = spread(scale, task_vector.ndim) * task_vector
            terms.append(jnp.where(trim.keeps(task_vector), scaled, 0.0))
        return float32(base) + lam * consensus(terms, weights, normalize)

    return Operator(
        name="ties",
        coefficients=(WEIGHT, DENSITY),
        init=init,
        merge=merge,
        needs_base=True,
        sources=(1, None),
    )


def consensus(
    terms: Sequence[Float[Array, "..."]],
    weights: Float[Array, "sources *layers"],
    normalize: bool,
) -> Float[Array, "..."]:
    """Sum, element by element, of the terms whose sign is that of the sum of all.

    A sum of zero counts as positive. With ``normalize`` the result is divided by the sum of the
    weights that agree. Departure: of their absolute values, and by 1 below 1e-8, so that weights
    of opposite sign cannot cancel and blow an element up; for weights >= 0 that is mergekit's.

    Args:
        terms: weight x sparse task vector of each source.
        weights: of each source, alone.
        normalize: divide, or not.
    """
    positive = sum(terms[1:], terms[0]) >= 0
    agrees = [jnp.where(positive, term > 0, term < 0) for term in terms]
    kept = [jnp.where(agree, term, 0.0) for agree, term in zip(agrees, terms, strict=True)]
    merged = sum(kept[1:], kept[0])
    if not normalize:
        return merged
    sizes = [
        jnp.where(agree, spread(jnp.abs(weight), agree.ndim), 0.0)
        for agree, weight in zip(agrees, weights, strict=True)
    ]
    return merged / divisor(sum(sizes[1:], sizes[0]))
