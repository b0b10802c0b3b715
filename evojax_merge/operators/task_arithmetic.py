"""Task arithmetic (Ilharco et al., 2022), https://arxiv.org/abs/2212.04089"""

from evojax_merge.operators.base import (
    WEIGHT,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    divisor,
    float32,
    no_statistics,
    task_vectors,
    weighted_sum,
)
from evojax_merge.types import Array, Float


def task_arithmetic(normalize: bool = False, lam: float = 1.0) -> Operator:
    """base + lam x sum of weight x (source - base).

    References:
        Ilharco et al., Editing models with task arithmetic, arXiv 2212.04089.

    Args:
        normalize: divide the sum by the sum of weights, by 1 where that is below 1e-8.
        lam: the scaling term common to all sources, lambda in the paper.
    """

    def merge(
        base: Leaf,
        sources: tuple[Leaf, ...],
        coefficients: Coefficients,
        statistics: tuple[()],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        weights = coefficients["weight"]
        if normalize:
            weights = weights / divisor(weights.sum(axis=0, keepdims=True))
        return float32(base) + weighted_sum(task_vectors(base, sources), lam * weights)

    return Operator(
        name="task_arithmetic",
        coefficients=(WEIGHT,),
        init=no_statistics,
        merge=merge,
        needs_base=True,
        sources=(1, None),
    )
