"""Task Singular Vectors (Gargiulo et al., 2024), https://arxiv.org/abs/2412.00081"""

import numpy as np

from evojax_merge.documents.arguments import check_number
from evojax_merge.operators.base import Coefficient, Operator
from evojax_merge.operators.matrices import merging_parts
from evojax_merge.operators.statistics import nearest_orthogonal, svd

WEIGHT = Coefficient(
    "weight", 0.0, 2.0, 1.0, description="factor of a source's singular values; 1 is the paper's"
)


def tsv_merge(lam: float = 1.0) -> Operator:
    """Add the leading singular directions of the task vectors, made orthogonal to each other.

    Each of K task vectors U_i S_i V_i^T keeps its first max(1, int(rank / K)) directions. The
    concatenated U and V are replaced by the nearest orthogonal matrices, and the merge is base +
    lam x sum of weight_i x U'_i S_i V'_i^T. Matrices (each layer of a stacked leaf) are merged so,
    other tensors as base + lam x mean of weight_i x task vector. The coefficient is the ``weight``
    of each source, which scales its singular values. It is usually in [0, 2] and starts at 1 (the
    method itself).

    The K matrices U'_i S_i V'_i^T do not depend on the weights: they are computed once in float64
    and held in float32, so that a candidate is one pass over memory and multiplies no matrices.

    References:
        Gargiulo et al., Task singular vectors: reducing task interference in model merging, arXiv
        2412.00081 (their TSV-Merge); other tensors as in the authors' code. Departures:
        weights are ours; directions that hold rounding noise alone (of adapters, of zero task
        vectors) are left out, and the orthogonalisation is that of the span where directions are
        linearly dependent (of equal sources), where the paper's depends on the library.

    Args:
        lam: The scale of the merged task vector, alpha in the paper.
    """
    check_number("tsv_merge: lam", lam)
    return merging_parts("tsv_merge", WEIGHT, _decorrelate, lam)


def _decorrelate(matrices: list[np.ndarray]) -> list[np.ndarray]:
    most = max(1, min(matrices[0].shape) // len(matrices))
    kept = [(u[:, :most], s[:most], vt[:most]) for u, s, vt in map(svd, matrices)]
    ends = np.cumsum([len(s) for _, s, _ in kept])[:-1]
    left = nearest_orthogonal(np.concatenate([u for u, _, _ in kept], axis=1))
    right = nearest_orthogonal(np.concatenate([vt for _, _, vt in kept]).T)
    return [
        (u * s) @ v.T
        for u, (_, s, _), v in zip(
            np.split(left, ends, axis=1), kept, np.split(right, ends, axis=1), strict=True
        )
    ]
