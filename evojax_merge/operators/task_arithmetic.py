"""Task arithmetic (Ilharco et al., 2022), https://arxiv.org/abs/2212.04089"""

from evojax_merge.operators.base import Operator
from evojax_merge.operators.task_vectors import task_vectors


def task_arithmetic(normalize: bool = False, lam: float = 1.0) -> Operator:
    """base + lam x sum of weight x (source - base).

    Coefficients: ``weight`` of each source, usually in [0, 1], start 0.5.

    References:
        Ilharco et al., Editing models with task arithmetic, arXiv 2212.04089.

    Args:
        normalize: Divide the sum by the sum of weights, by 1 where that is below 1e-8.
        lam: The scaling term common to all sources, lambda in the paper.
    """
    return task_vectors(normalize=normalize, lam=lam, name="task_arithmetic")
