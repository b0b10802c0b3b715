"""Iso-CTS (Marczak et al., 2025), https://arxiv.org/abs/2502.04959"""

import numpy as np

from evojax_merge.documents.arguments import check_number
from evojax_merge.operators.base import Operator
from evojax_merge.operators.iso_c import SCALE
from evojax_merge.operators.matrices import merging_whole
from evojax_merge.operators.statistics import nearest_orthogonal, svd


def iso_cts(common: float = 0.8) -> Operator:
    """Iso-C whose least directions give way to those that single sources have for themselves.

    Of the min(rows, columns) = r directions of the summed task vectors, the first k are common.
    Each of K sources gets (r - k) / K directions: the leading ones of its task vector less what the
    common ones span. U and V of all are replaced by the nearest orthogonal matrices, and all
    directions get the mean of their singular values. Matrices (each layer of a stacked leaf) are
    merged so, other tensors as base + scale x mean of the task vectors. The coefficient is one
    ``scale`` for all sources, which is usually in [0, 2] and starts at 1.

    The matrix is computed once in float64 and held in float32: a candidate is one pass over memory.

    References:
        Marczak et al., No task left behind: isotropic model merging with common and task-specific
        subspaces, arXiv 2502.04959, algorithm 2; r - k is rounded to a multiple of K, and other
        tensors are merged, as in the authors' code. Departure: directions that hold rounding noise
        alone stay zero, as in `evojax_merge.operators.iso_c`.

    Args:
        common: The share of directions that are common, from 0 to 1; 1 is Iso-C.

    Raises:
        ValueError: ``common`` is no such number.
    """
    check_number("iso_cts: common", common)
    if not 0 <= common <= 1:
        raise ValueError(f"iso_cts: common is {common}; give a share from 0 to 1")

    def combine(matrices: list[np.ndarray]) -> np.ndarray:
        return _merged(matrices, common)

    return merging_whole("iso_cts", SCALE, combine)


def _merged(matrices: list[np.ndarray], common: float) -> np.ndarray:
    whole = min(matrices[0].shape)
    each = round((whole - int(whole * common)) / len(matrices))
    shared = whole - each * len(matrices)
    left, values, right = svd(sum(matrices[1:], matrices[0]))
    left, values, right = left[:, :shared], values[:shared], right[:shared]
    parts = [svd(one - left @ (left.T @ one)) for one in matrices]
    lefts = [*(u[:, :each] for u, _, _ in parts), left]
    rights = [*(vt[:each] for _, _, vt in parts), right]
    total = values.sum() + sum(s[:each].sum() for _, s, _ in parts)
    left = nearest_orthogonal(np.concatenate(lefts, axis=1))
    right = nearest_orthogonal(np.concatenate(rights).T).T
    return total / whole * (left @ right)
