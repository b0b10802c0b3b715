"""Leaves on the host, for the statistics computed once before a search."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from evojax_merge.low_rank import Adapted
from evojax_merge.types import Float


class AdaptedRows:
    """The layers of an adapter's leaf on its base, each made when it is asked for."""

    def __init__(self, leaf: Adapted, layered: bool):
        self._leaf, self._layered = leaf, layered

    def __len__(self) -> int:
        return self._leaf.shape[0] if self._layered else 1

    def __getitem__(self, layer: int) -> Float[np.ndarray, "elements"]:
        if not 0 <= layer < len(self):
            raise IndexError(layer)
        return self._leaf.row(self._layered, layer)

    def __iter__(self) -> Iterator[Float[np.ndarray, "elements"]]:
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
) -> Float[np.ndarray, "elements"]:
    """Source minus base of one layer in float32, flat: the same numbers as on the device."""
    if isinstance(source, Adapted):
        return source.task_vector_row(layered, layer)
    ends = (rows(leaf, layered)[layer] for leaf in (source, base))
    end, origin = (row.astype(np.float32, copy=False) for row in ends)
    return end - origin


def magnitude_row(
    base: Any, source: Any, layered: bool, layer: int
) -> Float[np.ndarray, "elements"]:
    """Absolute values of `task_vector_row`."""
    row = task_vector_row(base, source, layered, layer)
    return np.abs(row, out=row if row.flags.writeable else None)  # one of an adapter is not
