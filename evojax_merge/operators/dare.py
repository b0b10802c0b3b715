"""DARE (Yu et al., 2023), https://arxiv.org/abs/2311.03099, alone and with TIES's consensus"""

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
    no_statistics,
    spread,
    task_vectors,
)
from evojax_merge.operators.random_mask import keep
from evojax_merge.operators.ties import consensus
from evojax_merge.types import Array, Float


def dare_linear(normalize: bool = False, rescale: bool = True, lam: float = 1.0) -> Operator:
    """base + lam x sum of weight x mask x (source - base) / density.

    References:
        Yu et al., Language models are super Mario, arXiv 2311.03099, equations 2 to 4; their drop
        rate is 1 - density.

    Args:
        normalize: divide the sum by the sum of weights, by 1 where that is below 1e-8.
        rescale: divide by the density, which keeps the mean. Departure from mergekit, which
            matches the l1 norm before and after: the same in expectation, but it would need a sum
            over the tensor for every candidate.
        lam: scale of the merged task vector.
    """
    return _dare("dare_linear", elect=False, normalize=normalize, rescale=rescale, lam=lam)


def dare_ties(normalize: bool = False, rescale: bool = True, lam: float = 1.0) -> Operator:
    """base + lam x `consensus` of weight x mask x (source - base) / density.

    DARE instead of TIES's trim, then TIES's sign election: the operator of Akiba et al.

    References:
        Yu et al., arXiv 2311.03099; Yadav et al., arXiv 2306.01708; Akiba et al., Evolutionary
        optimization of model merging recipes, arXiv 2403.13187, section 3.1.

    Args:
        normalize: divide by the sum of the weights that agree.
        rescale: divide by the density, see `dare_linear`.
        lam: scale of the merged task vector.
    """
    return _dare("dare_ties", elect=True, normalize=normalize, rescale=rescale, lam=lam)


def _dare(name: str, elect: bool, normalize: bool, rescale: bool, lam: float) -> Operator:
    def merge(
        base: Leaf,
        sources: tuple[Leaf, ...],
        coefficients: Coefficients,
        statistics: tuple[()],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        weights, densities = coefficients["weight"], coefficients["density"]
        scales = weights / jnp.where(densities > 0, densities, 1.0) if rescale else weights
        terms = []
        for source, task_vector in enumerate(task_vectors(base, sources)):
            kept = keep(key, source, task_vector.shape, densities[source])
            scaled = spread(scales[source], task_vector.ndim) * task_vector
            terms.append(jnp.where(kept, scaled, 0.0))
        if elect:
            merged = consensus(terms, weights, normalize)
        else:
            merged = sum(terms[1:], terms[0])
            if normalize:
                merged = merged / spread(divisor(weights.sum(axis=0)), merged.ndim)
        return float32(base) + lam * merged

    return Operator(
        name=name,
        coefficients=(WEIGHT, DENSITY),
        init=no_statistics,
        merge=merge,
        needs_base=True,
        sources=(1, None),
        random=True,
    )
