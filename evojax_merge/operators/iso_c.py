"""Iso-C (Marczak et al., 2025), https://arxiv.org/abs/2502.04959"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from evojax_merge.operators.base import (
    Coefficient,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    Source,
    float32,
    spread,
    task_vectors,
)
from evojax_merge.operators.statistics import is_matrix, rows, svd, task_matrix
from evojax_merge.params.types import Array, Float

SCALE = Coefficient(
    "scale", 0.0, 2.0, 1.0, per_source=False, description="factor of the merged task vector"
)


class Isotropic(NamedTuple):
    """The summed task vectors of a matrix with all singular values equal to their mean."""

    task_vector: Float[Array, "..."]


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

    def init(base: Leaf, sources: tuple[Source, ...], layered: bool) -> Isotropic | tuple[()]:
        if not is_matrix(base, layered):
            return ()
        layers = [
            _merged([task_matrix(base, source, layered, layer) for source in sources])
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
        name="iso_c",
        coefficients=(SCALE,),
        init=init,
        merge=merge,
        needs_base=True,
        sources=(1, None),
    )


def isotropic(left: np.ndarray, right: np.ndarray, value: float) -> np.ndarray:
    """The matrix of these singular vectors, all of whose singular values are ``value``."""
    return (value * (left @ right)).astype(np.float32)


def _merged(matrices: list[np.ndarray]) -> np.ndarray:
    matrix = sum(matrices[1:], matrices[0])
    left, values, right = svd(matrix)
    return isotropic(left, right, values.sum() / min(matrix.shape))
