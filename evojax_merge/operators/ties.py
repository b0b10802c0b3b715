"""TIES-Merging (Yadav et al., 2023), https://arxiv.org/abs/2306.01708"""

from evojax_merge.operators.base import Operator
from evojax_merge.operators.steps.trimming import Rescale
from evojax_merge.operators.task_vectors import task_vectors


def ties(normalize: bool = True, rescale: Rescale | None = None, lam: float = 1.0) -> Operator:
    """Trim each task vector to its largest elements, elect a sign, merge those that agree.

    Coefficients of each source: ``weight`` and ``density`` (what is kept, in steps of 1/1000), both
    usually in [0, 1], start 0.5; the paper's density is 0.2.

    References:
        Yadav et al., TIES-Merging: resolving interference when merging models, arXiv 2306.01708,
        algorithm 1. Weights are mergekit's extension of it.

    Args:
        normalize: Divide by the sum of the weights that agree (the paper's disjoint mean).
        rescale: Give each trimmed task vector the norm that it had: l1 is mergekit's option.
        lam: Scale of the merged task vector, lambda in the paper.
    """
    return task_vectors("magnitude", "sum", normalize, rescale, lam, name="ties")
