"""MagMax (Marczak et al., 2024), https://arxiv.org/abs/2407.06322"""

import jax.numpy as jnp

from evojax_merge.documents.arguments import check_number, check_switch
from evojax_merge.operators.base import WEIGHT as HALF_WEIGHT
from evojax_merge.operators.base import (
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    Source,
    float32,
    no_statistics,
    spread,
    task_vectors,
)
from evojax_merge.params.types import Array, Float

WEIGHT = HALF_WEIGHT._replace(default=1.0, description="factor of a task vector, before choosing")


def magmax(largest: bool = True, lam: float = 1.0) -> Operator:
    """base + lam x, element by element, the weighted task vector of greatest magnitude.

    The coefficient is the ``weight`` of each source, which is usually in [0, 1] and starts at 1
    (the paper's). Among equal magnitudes the first source's is taken.

    References:
        Marczak et al., MagMax: leveraging model merging for seamless continual learning, arXiv
        2407.06322, equation 1.

    Args:
        largest: Take the greatest magnitude; otherwise take the least, where all sources agree
            most.
        lam: The scale of the merged task vector, lambda in the paper.
    """
    check_switch("magmax: largest", largest)
    check_number("magmax: lam", lam)

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: tuple[()],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        vectors = task_vectors(base, sources)
        terms = [
            spread(weight, vector.ndim) * vector
            for weight, vector in zip(coefficients["weight"], vectors, strict=True)
        ]
        chosen = terms[0]
        for term in terms[1:]:
            sizes = jnp.abs(term), jnp.abs(chosen)
            better = sizes[0] > sizes[1] if largest else sizes[0] < sizes[1]
            chosen = jnp.where(better, term, chosen)
        return float32(base) + lam * chosen

    return Operator(
        name="magmax" if largest else "magmin",
        coefficients=(WEIGHT,),
        init=no_statistics,
        merge=merge,
        needs_base=True,
        sources=(1, None),
    )


def magmin(lam: float = 1.0) -> Operator:
    """`magmax` with the least magnitude instead of the greatest: the most cautious update."""
    return magmax(largest=False, lam=lam)
