"""How the sources of a leaf lie to each other: a Gram matrix of each tensor, made in float64."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from evojax_merge.operators.base import Leaf, Source
from evojax_merge.operators.statistics.inner_products import LANES, LEAST, inner_products
from evojax_merge.operators.statistics.layers import rows
from evojax_merge.operators.statistics.threads import in_threads
from evojax_merge.operators.steps.span import Along, Geometry
from evojax_merge.params.on_disk import OnDisk

CHUNK = 2**16
"""How many elements are taken to float64 at once: those of a few sources stay near the processor.
With fewer, threads wait for the interpreter's lock."""


def geometry(
    base: Leaf | None,
    sources: Sequence[Source],
    layered: bool,
    along: Along = "tensor",
    smallest_norm: float = 0.0,
) -> Geometry:
    """Measure the sources, or their task vectors where there is a base.

    Args:
        base: The leaf of the base, which is subtracted from every source, or None.
        sources: The leaf of each source.
        layered: Whether the first axis counts layers.
        along: What is one vector. A tensor of one axis is one row and one column.
        smallest_norm: A vector no longer than this has no direction.
    """
    shape = np.shape(sources[0])
    inner = shape[1:] if layered else shape
    if len(inner) < 2:
        along = "tensor"

    def one(layer: int) -> np.ndarray:
        vectors = [_flat(source, layered, layer) for source in sources]
        origin = None if base is None else _flat(base, layered, layer)
        if along == "tensor":
            return _gram(origin, vectors)
        axis = -1 if along == "rows" else 0
        matrices = [np.moveaxis(vector.reshape(inner), axis, -1) for vector in vectors]
        zero = None if origin is None else np.moveaxis(origin.reshape(inner), axis, -1)
        return _grams(zero, matrices)

    layers = in_threads(one, range(shape[0] if layered else 1))
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
    return Geometry(*(jax.device_put(x.astype(np.float32)) for x in (norms, apart, distances)))


def geometry_name(
    of_task_vectors: bool = False, along: Along = "tensor", smallest_norm: float = 0.0
) -> str:
    """What `geometry` with these settings computes, for `Operator.statistics_name`."""
    return f"geometry {'task vectors' if of_task_vectors else 'sources'} {along} {smallest_norm}"


def _flat(leaf: Any, layered: bool, layer: int) -> Any:
    return leaf if isinstance(leaf, OnDisk) else rows(leaf, layered)[layer]


def _gram(origin: Any, vectors: Sequence[Any]) -> np.ndarray:
    """The Gram matrix of whole vectors, ``[sources, sources]``."""
    above = list(zip(*np.triu_indices(len(vectors)), strict=True))
    size = vectors[0].shape[0]
    done = size - size % LANES if size >= LEAST else 0
    # The remainder comes last: a tensor on disk is looked through in the order it is read in.
    gram = inner_products(origin, vectors) if done else np.zeros((len(vectors),) * 2)
    room = _room(len(vectors), (min(CHUNK, size - done),))
    for start in range(done, size, CHUNK):
        part = slice(start, min(start + CHUNK, size))
        zero = None if origin is None else origin[part]
        moved = _moved(zero, [vector[part] for vector in vectors], room)
        for i, j in above:
            gram[i, j] += np.dot(moved[i], moved[j])
    return np.triu(gram) + np.triu(gram, 1).T


def _grams(origin: Any, matrices: Sequence[np.ndarray]) -> np.ndarray:
    """The Gram matrices of the vectors along the last axis, ``[sources, sources, *others]``."""
    shape = matrices[0].shape
    grams = np.empty((len(matrices), len(matrices), *shape[:-1]))
    width = int(np.prod(shape[1:]))
    step = max(1, CHUNK // max(1, width))
    room = _room(len(matrices), (step, *shape[1:]))
    for start in range(0, shape[0], step):
        part = slice(start, start + step)
        zero = None if origin is None else origin[part]
        moved = _moved(zero, [matrix[part] for matrix in matrices], room)
        grams[:, :, part] = np.einsum("i...k,j...k->ij...", moved, moved)
    return grams


Room = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Memory used for one part after another: for all vectors in float64, and for the origin and an end
in float32."""


def _room(vectors: int, shape: tuple[int, ...]) -> Room:
    return np.empty((vectors, *shape)), np.empty(shape, np.float32), np.empty(shape, np.float32)


def _moved(origin: np.ndarray | None, ends: Sequence[np.ndarray], room: Room) -> np.ndarray:
    """The vectors from the origin in float64; differences are rounded to float32 as in a merge."""
    size = len(ends[0])
    moved, zero, end = room[0][:, :size], room[1][:size], room[2][:size]
    if origin is not None:
        np.copyto(zero, origin)
    for row, given in zip(moved, ends, strict=True):
        if origin is None:
            np.copyto(row, given)
        else:
            np.copyto(end, given)
            np.copyto(row, np.subtract(end, zero, out=end))
    return moved


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
