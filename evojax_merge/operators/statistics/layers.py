"""Leaves on the host, layer by layer."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.operators.base import Leaf
from evojax_merge.operators.statistics.threads import in_threads
from evojax_merge.params.low_rank import Adapted
from evojax_merge.params.types import Array, Float


class AdaptedRows:
    """The layers of an adapter's leaf on its base, each made when it is asked for."""

    def __init__(self, leaf: Adapted, layered: bool):
        self._leaf, self._layered = leaf, layered

    def __len__(self) -> int:
        return self._leaf.shape[0] if self._layered else 1

    def __getitem__(self, layer: int) -> Float[np.ndarray, " elements"]:
        if not 0 <= layer < len(self):
            raise IndexError(layer)
        return self._leaf.row(self._layered, layer)

    def __iter__(self) -> Iterator[Float[np.ndarray, " elements"]]:
        return (self[layer] for layer in range(len(self)))


def rows(leaf: Any, layered: bool) -> np.ndarray | AdaptedRows:
    """A view ``[layers, elements]`` of a stacked leaf, ``[1, elements]`` of any other.

    Nothing is converted here: callers take one row to float32 at a time, so that a large model is
    never held twice.
    """
    if isinstance(leaf, Adapted):
        return AdaptedRows(leaf, layered)
    array = np.asarray(leaf)
    return array.reshape(array.shape[0] if layered else 1, -1)


def task_vector_row(
    base: Any, source: Any, layered: bool, layer: int
) -> Float[np.ndarray, " elements"]:
    """Source minus base of one layer in float32, flat; the numbers are those on the device."""
    if isinstance(source, Adapted):
        return source.task_vector_row(layered, layer)
    ends = (rows(leaf, layered)[layer] for leaf in (source, base))
    end, origin = (row.astype(np.float32, copy=False) for row in ends)
    return end - origin


def stack_layers(
    of_layer: Callable[[int], tuple[Any, ...]], leaf: Leaf, layered: bool
) -> list[Array]:
    """Stack the statistics of every layer of a leaf; those of a whole leaf stay as they are."""
    columns = zip(*in_threads(of_layer, range(len(rows(leaf, layered)))), strict=True)
    return [_stacked(column) if layered else jax.device_put(column[0]) for column in columns]


def _stacked(layers: Sequence[Any]) -> Array:
    there = any(isinstance(layer, jax.Array) for layer in layers)
    return jnp.stack(layers) if there else jax.device_put(np.stack(layers))
