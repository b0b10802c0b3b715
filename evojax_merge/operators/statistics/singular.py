"""Singular value decompositions of task vectors, made on the host before a search, in float64."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from evojax_merge.operators.statistics.layers import task_vector_row

NOISE = 4 * float(np.finfo(np.float32).eps)
"""The rounding of a task vector's elements. Directions that are as small as what it makes up do not
count."""


def is_matrix(leaf: Any, layered: bool) -> bool:
    """Whether a leaf, or each layer of it, has two axes."""
    return len(np.shape(leaf)) - int(layered) == 2


def task_matrix(base: Any, source: Any, layered: bool, layer: int) -> np.ndarray:
    """The task vector of one layer as a matrix in float64."""
    shape = np.shape(base)[int(layered) :]
    return task_vector_row(base, source, layered, layer).reshape(shape).astype(np.float64)


def task_matrices(base: Any, sources: Sequence[Any], layered: bool, layer: int) -> list[np.ndarray]:
    """The task vector of each source in one layer as a matrix in float64."""
    return [task_matrix(base, source, layered, layer) for source in sources]


def svd(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U, singular values and V^T without the directions that hold rounding noise alone.

    Which basis of such directions a library returns is arbitrary, and it would be part of what is
    merged wherever singular values do not weigh them. A matrix of zeros has no direction left.
    """
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    kept = values > rounding(matrix)
    return left[:, kept], values[kept], right[kept]


def rounding(matrix: np.ndarray) -> float:
    """The singular value, or norm, up to which a direction of a task vector is rounding noise."""
    rows, columns = matrix.shape
    return float(NOISE * np.linalg.norm(matrix) * (rows**-0.5 + columns**-0.5))


def nearest_orthogonal(matrix: np.ndarray) -> np.ndarray:
    """The matrix with orthonormal columns nearest to this one (orthogonal Procrustes).

    It is P Q^T of the decomposition P D Q^T. Where columns are linearly dependent, only the
    directions that they span count; columns are then orthonormal as far as they can be.
    """
    if not matrix.size:
        return matrix
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    kept = values > max(matrix.shape) * np.finfo(np.float64).eps * values[0]
    return left[:, kept] @ right[kept]
