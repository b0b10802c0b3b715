"""Iso-CTS (Marczak et al., 2025), https://arxiv.org/abs/2502.04959"""

import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import check_number
from evojax_merge.operators.base import (
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    Source,
    float32,
    spread,
    task_vectors,
)
from evojax_merge.operators.iso_c import SCALE, Isotropic, isotropic
from evojax_merge.operators.statistics import is_matrix, nearest_orthogonal, rows, svd, task_matrix
from evojax_merge.params.types import Array, Float


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

    def init(base: Leaf, sources: tuple[Source, ...], layered: bool) -> Isotropic | tuple[()]:
        if not is_matrix(base, layered):
            return ()
        layers = [
            _merged([task_matrix(base, one, layered, layer) for one in sources], common)
            for layer in range(len(rows(base, layered)))
        ]
        return Isotropic(jnp.asarray(np.stack(layers) if layered else layers[0]))

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: Isotropic | tuple[()],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        if isinstance(statistics, Isotropic):
            merged = statistics.task_vector
        else:
            vectors = task_vectors(base, sources)
            merged = sum(vectors[1:], vectors[0]) / len(vectors)
        return float32(base) + spread(coefficients["scale"], merged.ndim) * merged

    return Operator(
        name="iso_cts",
        coefficients=(SCALE,),
        init=init,
        merge=merge,
        needs_base=True,
        sources=(1, None),
    )


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
    return isotropic(
        nearest_orthogonal(np.concatenate(lefts, axis=1)),
        nearest_orthogonal(np.concatenate(rights).T).T,
        total / whole,
    )
