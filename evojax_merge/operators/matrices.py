"""Operators that work out before a search what they add to a matrix, so that no candidate does."""

from collections.abc import Callable, Iterator, Sequence
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
    weighted_sum,
)
from evojax_merge.operators.statistics import is_matrix, rows, task_matrices
from evojax_merge.params.types import Array, Float


class Whole(NamedTuple):
    """What all sources together add to a matrix."""

    task_vector: Float[Array, "..."]


class Parts(NamedTuple):
    """What each source adds to a matrix."""

    parts: tuple[Float[Array, "..."], ...]


def merging_whole(
    name: str, scale: Coefficient, combine: Callable[[list[np.ndarray]], np.ndarray]
) -> Operator:
    """base + scale x one matrix of all task vectors; of other tensors, x the mean of them.

    Args:
        name: The name of the operator.
        scale: Its one coefficient, for all sources, which is called ``scale``.
        combine: A function of the task vectors of a matrix, each [rows, columns] in float64.
    """

    def init(base: Leaf, sources: tuple[Source, ...], layered: bool) -> Whole | tuple[()]:
        if not is_matrix(base, layered):
            return ()
        layers = [
            combine(matrices).astype(np.float32) for matrices in _matrices(base, sources, layered)
        ]
        return Whole(_stacked(layers, layered))

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: Whole | tuple[()],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        if isinstance(statistics, Whole):
            merged = statistics.task_vector
        else:
            vectors = task_vectors(base, sources)
            merged = sum(vectors[1:], vectors[0]) / len(vectors)
        return float32(base) + spread(coefficients["scale"], merged.ndim) * merged

    return Operator(name, (scale,), init, merge, needs_base=True, sources=(1, None))


def merging_parts(
    name: str,
    weight: Coefficient,
    divide: Callable[[list[np.ndarray]], list[np.ndarray]],
    lam: float = 1.0,
) -> Operator:
    """base + lam x sum of weight x part of each source; of other tensors, x the mean.

    Args:
        name: The name of the operator.
        weight: Its one coefficient, for each source, which is called ``weight``.
        divide: A function of the task vectors of a matrix, each [rows, columns] in float64, that
            gives as many parts of the same shape.
        lam: The scale of the merged task vector.
    """

    def init(base: Leaf, sources: tuple[Source, ...], layered: bool) -> Parts | tuple[()]:
        if not is_matrix(base, layered):
            return ()
        layers = [
            [part.astype(np.float32) for part in divide(matrices)]
            for matrices in _matrices(base, sources, layered)
        ]
        return Parts(tuple(_stacked(part, layered) for part in zip(*layers, strict=True)))

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: Parts | tuple[()],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        weights = lam * coefficients["weight"]
        if isinstance(statistics, Parts):
            return float32(base) + weighted_sum(statistics.parts, weights)
        return float32(base) + weighted_sum(task_vectors(base, sources), weights / len(sources))

    return Operator(name, (weight,), init, merge, needs_base=True, sources=(1, None))


def _matrices(base: Leaf, sources: tuple[Source, ...], layered: bool) -> Iterator[list[np.ndarray]]:
    """The task vectors of each layer in turn."""
    for layer in range(len(rows(base, layered))):
        yield task_matrices(base, sources, layered, layer)


def _stacked(layers: Sequence[np.ndarray], layered: bool) -> Array:
    return jnp.asarray(np.stack(layers) if layered else layers[0])
