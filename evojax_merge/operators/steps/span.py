"""Merges that are linear combinations of the sources.

The coefficients of slerp, of a Karcher mean or of model stock depend on norms and inner products
alone: a K x K Gram matrix of each tensor (or of each of its rows), computed once in float64. A
candidate costs one calculation on K x K numbers and one fused sum over the sources.

Fine-tunes are nearly parallel, so that 1 - cos is a tiny difference of two numbers near 1. The
matrices are therefore kept as what float32 can hold: 1 - cos of every pair, and squared distances.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from evojax_merge.operators.base import float32, spread
from evojax_merge.params.types import Array, Float

Along = Literal["tensor", "rows", "columns"]
"""What counts as one vector: a whole tensor (or a layer of a stacked leaf), each of its rows (last
axis), or each of its columns (first axis)."""


class Geometry(NamedTuple):
    """How the sources of a leaf lie to each other, for each vector of it.

    The vectors' own axes, ``*vectors``, broadcast against the leaf: ``[layers, 1, 1]`` for whole
    tensors of a stacked leaf, ``[layers, rows, 1]`` for their rows.

    Attributes:
        norms: The length of each vector.
        apart: 1 - cos of each pair of directions; a vector of no length is orthogonal to others.
        distances: The squared distance of each pair over the largest of them, which float32 may not
            hold.
    """

    norms: Float[Array, " sources *vectors"]
    apart: Float[Array, "sources sources *vectors"]
    distances: Float[Array, "sources sources *vectors"]


def combine(
    leaves: Sequence[Any], coefficients: Sequence[Float[Array, " *vectors"]]
) -> Float[Array, "..."]:
    """The sum of coefficient x leaf, in one elementwise expression."""
    terms = [
        spread(coefficient, leaf.ndim) * float32(leaf)
        for coefficient, leaf in zip(coefficients, leaves, strict=True)
    ]
    return sum(terms[1:], terms[0])


def per_vector(
    values: Float[Array, " sources *layers"], geometry: Geometry
) -> Float[Array, " sources *vectors"]:
    """Shape coefficients of whole layers to broadcast against those of vectors.

    Args:
        values: The coefficients, ``[sources]`` or ``[sources, layers]``.
        geometry: The geometry of the leaf that the coefficients belong to.
    """
    vectors = geometry.norms.ndim - 1
    layers = values.ndim - 1
    return values.reshape(values.shape + (1,) * (vectors - layers))


def dot(matrix: Any, vector: Any) -> Float[Array, " sources *vectors"]:
    """Matrix x vector over the sources, for each vector of a leaf."""
    columns = [matrix[:, j] * vector[j][None] for j in range(vector.shape[0])]
    return sum(columns[1:], columns[0])
