"""Task arithmetic (Ilharco et al., 2022), https://arxiv.org/abs/2212.04089"""

from evojax_merge.operators.base import (
    WEIGHT,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    Source,
    divisor,
    float32,
    no_statistics,
)
from evojax_merge.operators.steps.adapters import weighted_task_vectors
from evojax_merge.operators.steps.task_vectors import check_steps
from evojax_merge.operators.steps.trimming import Rescale
from evojax_merge.params.types import Array, Float


def task_arithmetic(normalize: bool = False, lam: float = 1.0) -> Operator:
    """base + lam x sum of weight x (source - base).

    The coefficient is the ``weight`` of each source, which is usually in [0, 1] and starts at 0.5.

    References:
        Ilharco et al., Editing models with task arithmetic, arXiv 2212.04089.

    Args:
        normalize: Divide the sum by the sum of weights, by 1 where that is below 1e-8.
        lam: The scaling term common to all sources, lambda in the paper.
    """
    return sum_of_task_vectors(name="task_arithmetic", normalize=normalize, rescale=None, lam=lam)


def sum_of_task_vectors(
    *, name: str, normalize: bool, rescale: Rescale | None, lam: float
) -> Operator:
    """Task arithmetic under any name. Nothing is trimmed, so that there is nothing to rescale."""
    check_steps(name, "none", normalize, rescale, lam)

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: tuple[()],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        weights = coefficients["weight"]
        total = divisor(weights.sum(axis=0, keepdims=True)) if normalize else 1.0
        return float32(base) + weighted_task_vectors(base, sources, lam * weights / total)

    return Operator(
        name=name,
        coefficients=(WEIGHT,),
        init=no_statistics,
        merge=merge,
        needs_base=True,
        sources=(1, None),
    )
