"""DARE (Yu et al., 2023), https://arxiv.org/abs/2311.03099, alone and with TIES's election"""

from typing import Any

import jax.numpy as jnp

from evojax_merge.operators.base import DENSITY, LeafKey, Operator
from evojax_merge.operators.steps.random_mask import keep
from evojax_merge.operators.steps.task_vectors import trim_elect_add
from evojax_merge.operators.steps.trimming import (
    Kept,
    Rescale,
    Trimming,
    refuse_linf,
    safe_density,
)
from evojax_merge.params.types import Array


def dare_linear(
    normalize: bool = False, rescale: Rescale | None = "inverse", lam: float = 1.0
) -> Operator:
    """base + lam x sum of weight x mask x (source - base) / density.

    The coefficients of each source are ``weight`` and ``density`` (what is kept). Both are usually
    in [0, 1] and start at 0.5.

    References:
        Yu et al., Language models are super Mario, arXiv 2311.03099, equations 2 to 4; their drop
        rate is 1 - density.

    Args:
        normalize: Divide the sum by the sum of weights, by 1 where that is below 1e-8.
        rescale: Divide by the density, which keeps the mean. Departure: mergekit matches the l1
            norm before and after. That is the same in expectation (``l1`` here), but it would
            need a sum over the tensor for every candidate.
        lam: The scale of the merged task vector.
    """
    return trim_elect_add(
        at_random,
        name="dare_linear",
        consensus="none",
        normalize=normalize,
        rescale=rescale,
        lam=lam,
    )


def dare_ties(
    normalize: bool = False, rescale: Rescale | None = "inverse", lam: float = 1.0
) -> Operator:
    """base + lam x signed merge of weight x mask x (source - base) / density.

    DARE takes the place of TIES's trim, before TIES's sign election. This is the operator of Akiba
    et al. It has the coefficients of `dare_linear`.

    References:
        Yu et al., arXiv 2311.03099; Yadav et al., arXiv 2306.01708; Akiba et al., Evolutionary
        optimization of model merging recipes, arXiv 2403.13187, section 3.1.

    Args:
        normalize: Divide by the sum of the weights that agree.
        rescale: Divide by the density, as `dare_linear` does.
        lam: The scale of the merged task vector.
    """
    return trim_elect_add(
        at_random,
        name="dare_ties",
        consensus="sum",
        normalize=normalize,
        rescale=rescale,
        lam=lam,
    )


def at_random(rescale: Rescale | None = "inverse") -> Trimming:
    """Keep each element with a probability equal to the density.

    Dividing by the density keeps the l1 norm in expectation; dividing by its root keeps the l2
    norm.

    Raises:
        ValueError: ``rescale`` is linf, which has no such expectation.
    """
    refuse_linf(rescale)

    def apply(
        task_vector: Array, statistics: Any, values: dict[str, Array], key: LeafKey, source: int
    ) -> Kept:
        density = values["density"]
        safe = safe_density(density)
        scale = {None: jnp.ones_like(safe), "l2": 1.0 / jnp.sqrt(safe)}.get(rescale, 1.0 / safe)
        return Kept(keep(key, source, task_vector.shape, density), scale)

    return Trimming((DENSITY,), apply, random=True)
