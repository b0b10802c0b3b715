"""Model Breadcrumbs (Davari and Belilovsky, 2023), https://arxiv.org/abs/2312.06795"""

from evojax_merge.operators.base import Operator
from evojax_merge.operators.steps.trimming import Rescale
from evojax_merge.operators.task_vectors import task_vectors


def breadcrumbs(
    normalize: bool = False, rescale: Rescale | None = None, lam: float = 1.0
) -> Operator:
    """Drop the largest and the smallest elements of each task vector, then add.

    Coefficients of each source: ``weight``, ``density`` (what is kept), both usually in [0, 1],
    start 0.5, and ``gamma`` (the fraction of largest elements dropped), usually in [0, 0.05], start
    0.01; the last two in steps of 1/1000, and whole tensors.

    References:
        Davari and Belilovsky, Model breadcrumbs: scaling multi-task model merging with sparse
        masks, arXiv 2312.06795; their beta is density + gamma counted from the top. Weights are
        mergekit's extension.

    Args:
        normalize: Divide the sum by the sum of weights, by 1 where that is below 1e-8.
        rescale: Give each trimmed task vector the norm that it had.
        lam: Scale of the merged task vector, alpha in the paper.
    """
    return task_vectors("outliers", "none", normalize, rescale, lam, name="breadcrumbs")


def breadcrumbs_ties(
    normalize: bool = False, rescale: Rescale | None = None, lam: float = 1.0
) -> Operator:
    """The same with the sign election of TIES (Yadav et al., arXiv 2306.01708) before the sum."""
    return task_vectors("outliers", "sum", normalize, rescale, lam, name="breadcrumbs_ties")
