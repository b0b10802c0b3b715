"""Iso-C (Marczak et al., 2025), https://arxiv.org/abs/2502.04959"""

import numpy as np

from evojax_merge.operators.base import Coefficient, Operator
from evojax_merge.operators.matrices import merging_whole
from evojax_merge.operators.statistics import svd

SCALE = Coefficient(
    "scale", 0.0, 2.0, 1.0, per_source=False, description="factor of the merged task vector"
)


def iso_c() -> Operator:
    """base + scale x mean singular value x U V^T, of the summed task vectors U S V^T.

    Matrices (each layer of a stacked leaf) are merged so, other tensors as base + scale x mean of
    the task vectors. The coefficient is one ``scale`` for all sources, which is usually in [0, 2]
    and starts at 1. The matrix is computed once in float64 and held in float32: a candidate is one
    pass over memory.

    References:
        Marczak et al., No task left behind: isotropic model merging with common and task-specific
        subspaces, arXiv 2502.04959 (scale is their alpha, chosen on validation data); tensors
        as in the authors' code. Departure: directions that hold rounding noise alone (where the sum
        is of lower rank) stay zero, as their basis depends on the library; the mean is over all
        min(rows, columns) of them, as in the paper.
    """
    return merging_whole("iso_c", SCALE, _isotropic)


def _isotropic(matrices: list[np.ndarray]) -> np.ndarray:
    matrix = sum(matrices[1:], matrices[0])
    left, values, right = svd(matrix)
    return values.sum() / min(matrix.shape) * (left @ right)
