"""Merges that are linear combinations of the sources.

The coefficients of slerp, of a Karcher mean or of model stock depend on norms and inner products
alone: a K x K Gram matrix of each tensor (or of each of its rows), computed once in float64. A
candidate costs one calculation on K x K numbers and one fused sum over the sources.

Fine-tunes are nearly parallel, so that 1 - cos is a tiny difference of two numbers near 1. The
matrices are therefore kept as what float32 can hold: 1 - cos of every pair, and squared distances.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from evojax_merge.operators.base import Leaf, float32, spread
from evojax_merge.operators.host import rows
from evojax_merge.operators.order_statistics import in_threads
from evojax_merge.types import Array, Float

Along = Literal["tensor", "rows", "columns"]
"""What counts as one vector: a whole tensor (a layer of a stacked leaf), each of its rows (last
axis), or each of its columns (first axis)."""

CHUNK = 2**16
"""Elements taken to float64 at once: few enough to stay in the cache."""


class Geometry(NamedTuple):
    """How the sources of a leaf lie to each other, for each vector of it.

    The vectors' own axes, ``*vectors``, broadcast against the leaf: ``[layers, 1, 1]`` for whole
    tensors of a stacked leaf, ``[layers, rows, 1]`` for their rows.

    Attributes:
        norms: Lengths.
        apart: 1 - cos of each pair of directions; a vector of no length is orthogonal to others.
        distances: Squared, of each pair, over the largest of them: float32 may not hold that.
    """

    norms: Float[Array, "sources *vectors"]
    apart: Float[Array, "sources sources *vectors"]
    distances: Float[Array, "sources sources *vectors"]


def geometry(
    base: Leaf | None,
    sources: Sequence[Leaf],
    layered: bool,
    along: Along = "tensor",
    smallest_norm: float = 0.0,
) -> Geometry:
    """Measure the sources, or their task vectors where there is a base.

    Args:
        base: Subtracted from every source, if not None.
        sources: Of one leaf.
        layered: Whether the first axis counts layers.
        along: What is one vector. A tensor of one axis is one row and one column.
        smallest_norm: A vector no longer than this has no direction.
    """
    shape = np.shape(sources[0])
    inner = shape[1:] if layered else shape
    if len(inner) < 2:
        along = "tensor"

    def one(layer: int) -> np.ndarray:
        vectors = [rows(source, layered)[layer].astype(np.float32) for source in sources]
        if base is not None:
            origin = rows(base, layered)[layer].astype(np.float32)
            vectors = [vector - origin for vector in vectors]
        if along == "tensor":
            return _gram(vectors)
        axis = -1 if along == "rows" else 1  # the first counts sources
        matrices = np.stack([v.reshape(inner).astype(np.float64) for v in vectors])
        other = np.moveaxis(matrices, axis, -1)
        return np.einsum("i...k,j...k->ij...", other, other)

    layers = in_threads(one, range(len(rows(sources[0], layered))))
    gram = np.stack(layers, axis=2) if layered else layers[0]
    gram = gram.reshape(gram.shape[:2] + _vector_axes(inner, along, len(layers), layered))
    squares = np.einsum("ii...->i...", gram)
    norms = np.sqrt(squares)
    pointed = norms > smallest_norm
    lengths = np.where(pointed, norms, 1.0)
    cosines = gram / (lengths[:, None] * lengths[None])
    cosines *= pointed[:, None] & pointed[None]
    apart = np.clip(1.0 - cosines, 0.0, 2.0)
    distances = np.maximum(squares[:, None] + squares[None] - 2.0 * gram, 0.0)
    farthest = distances.max(axis=(0, 1))
    distances /= np.where(farthest > 0, farthest, 1.0)
    for source in range(len(sources)):
        apart[source, source] = distances[source, source] = 0.0
    return Geometry(*(jnp.asarray(x.astype(np.float32)) for x in (norms, apart, distances)))


def combine(
    leaves: Sequence[Any], coefficients: Sequence[Float[Array, "*vectors"]]
) -> Float[Array, "..."]:
    """Sum of coefficient x leaf, in one elementwise expression."""
    terms = [
        spread(coefficient, leaf.ndim) * float32(leaf)
        for coefficient, leaf in zip(coefficients, leaves, strict=True)
    ]
    return sum(terms[1:], terms[0])


def per_vector(
    values: Float[Array, "sources *layers"], geometry: Geometry
) -> Float[Array, "sources *vectors"]:
    """Coefficients of whole layers, shaped to broadcast against those of vectors.

    Args:
        values: ``[sources]`` or ``[sources, layers]``.
        geometry: Of the leaf they belong to.
    """
    vectors = geometry.norms.ndim - 1
    layers = values.ndim - 1
    return values.reshape(values.shape + (1,) * (vectors - layers))


def dot(matrix: Any, vector: Any) -> Float[Array, "sources *vectors"]:
    """Matrix x vector over the sources, for each vector of a leaf."""
    columns = [matrix[:, j] * vector[j][None] for j in range(vector.shape[0])]
    return sum(columns[1:], columns[0])


def _gram(vectors: Sequence[np.ndarray]) -> np.ndarray:
    gram = np.zeros((len(vectors),) * 2)
    for start in range(0, vectors[0].size, CHUNK):
        part = np.stack([v[start : start + CHUNK] for v in vectors]).astype(np.float64)
        gram += part @ part.T
    return gram


def _vector_axes(
    inner: tuple[int, ...], along: Along, layers: int, layered: bool
) -> tuple[int, ...]:
    own: tuple[int, ...]
    if along == "tensor":
        own = (1,) * len(inner)
    elif along == "rows":
        own = (*inner[:-1], 1)
    else:
        own = (1, *inner[1:])
    return ((layers,) if layered else ()) + own
