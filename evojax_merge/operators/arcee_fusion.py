"""Arcee Fusion (Arcee AI, 2025), https://github.com/arcee-ai/mergekit/blob/main/docs/merge_methods.md"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

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
from evojax_merge.operators.statistics import (
    PIECE,
    Tensors,
    cuts_of,
    in_threads,
    ordered,
    rows,
    select,
    stack_layers,
    task_vector_row,
)
from evojax_merge.params.types import Array, Float

SMALLEST_PROBABILITY = 1e-8

ROWS = 2**15
"""How many elements of rows are measured at once, in float64, where they are read from a file. They
are few enough to stay in the cache."""

SPREAD = Coefficient(
    "spread",
    0.0,
    3.0,
    1.5,
    per_source=False,
    description="interquartile ranges above the median from which an element counts as important",
)


class Importance(NamedTuple):
    """The divergence of each row of a leaf, and the quartiles of the elements' importance."""

    divergence: Float[Array, "*rows 1"]
    median: Float[Array, " *layers"]
    interquartile: Float[Array, " *layers"]


def arcee_fusion() -> Operator:
    """Take from the source the elements whose importance is far above the median.

    The importance is |source - base| x KL(softmax of the source's row, softmax of the base's row).
    An element is taken where its importance is at least median + spread x interquartile range of
    the tensor. The coefficient is ``spread``, which is usually in [0, 3] and starts at 1.5 (the
    method's).

    References:
        Arcee AI, 2025, as in mergekit 0.1.5. Departure: the quartiles are those of all elements;
        mergekit draws a million of a larger tensor with replacement.
    """

    def init(base: Leaf, sources: tuple[Source, ...], layered: bool) -> Importance:
        (source,) = sources
        shape = np.shape(base)[int(layered) :]

        def one(layer: int) -> tuple[np.ndarray, np.float32, np.float32]:
            origin, end = (rows(leaf, layered)[layer].reshape(shape) for leaf in (base, source))
            divergence = divergences(end, origin)
            moved = np.abs(task_vector_row(base, source, layered, layer)).reshape(shape)
            importance = (moved * divergence).ravel()
            cut = select(ordered(importance), _quartiles(importance.size)).cut
            first, median, third = np.asarray(cut.threshold)
            return divergence, median, third - first

        return Importance(*stack_layers(one, base, layered))

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: Importance,
        key: LeafKey,
    ) -> Float[Array, "..."]:
        (difference,) = task_vectors(base, sources)
        threshold = statistics.median + coefficients["spread"] * statistics.interquartile
        importance = jnp.abs(difference) * statistics.divergence
        taken = importance >= spread(threshold, difference.ndim)
        return float32(base) + jnp.where(taken, difference, 0.0)

    return Operator(
        name="arcee_fusion",
        coefficients=(SPREAD,),
        init=init,
        merge=merge,
        needs_base=True,
        sources=(1, 1),
        init_fixed=_init_fixed,
    )


def divergences(end: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The KL divergence of each row (last axis), ``[..., 1]``, which is never negative.

    Some rows are measured at a time.
    """
    width = end.shape[-1] if end.ndim else 1
    ends, origins = (x.reshape(-1, width) for x in (end, origin))
    step = max(1, PIECE // width)

    def some(start: int) -> np.ndarray:
        part = slice(start, start + step)
        # In float64: the terms of nearly equal rows cancel.
        p, q = (
            _softmax(x[part].astype(np.float64)) + SMALLEST_PROBABILITY for x in (ends, origins)
        )
        total = np.sum(p * np.log(p / q), axis=-1, keepdims=True)
        return np.maximum(total, 0.0).astype(np.float32)

    if len(ends) <= step:
        found = some(0)
    else:
        found = np.concatenate(in_threads(some, range(0, len(ends), step)))
    return found.reshape(*end.shape[:-1], 1) if end.ndim else found.reshape(())


def _init_fixed(
    tensors: Tensors, coefficients: Mapping[str, Any]
) -> Callable[[int, int], Importance]:
    """The divergence of each row, a few rows at a time, and the quartiles of all elements."""
    width = tensors.shape[-1] if tensors.shape else 1
    size = tensors.size
    (source,) = tensors.sources
    step = max(1, ROWS // width) * width
    divergence = np.empty(size // width, np.float32)
    for first in range(0, size, step):
        part = slice(first, min(first + step, size))
        end, origin = (tensor[part].reshape(-1, width) for tensor in (source, tensors.base))
        divergence[first // width : part.stop // width] = divergences(end, origin)[:, 0]

    def of_elements(first: int, count: int) -> np.ndarray:
        row = np.arange(first // width, (first + count - 1) // width + 1)
        known = np.repeat(divergence[np.minimum(row, divergence.size - 1)], width)
        return known[first % width :][:count]

    def pieces() -> Iterator[tuple[int, list[np.ndarray]]]:
        for first, (magnitude,) in tensors.magnitudes():
            yield first, [magnitude * of_elements(first, magnitude.size)]

    (found,) = cuts_of(pieces, [[int(count) for count in _quartiles(size)]])
    low, median, high = (cut.threshold for cut in found)
    between: Any = high - low
    return lambda first, count: Importance(of_elements(first, count), median, between)  # type: ignore[arg-type]


def _quartiles(elements: int) -> np.ndarray:
    """How many elements there are from each quartile on, that quartile among them.

    mergekit's quartile q is the element at int(q (n - 1)) in rising order.
    """
    return elements - (np.array([0.25, 0.5, 0.75]) * (elements - 1)).astype(np.int64)


def _softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
