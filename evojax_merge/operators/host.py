"""Leaves on the host, for the statistics computed once before a search."""

from typing import Any

import numpy as np

from evojax_merge.types import Float


def rows(leaf: Any, layered: bool) -> np.ndarray:
    """A view ``[layers, elements]`` of a stacked leaf, ``[1, elements]`` of any other.

    Nothing is converted here: callers take one row to float32 at a time, so that a large model is
    never held twice.
    """
    array = np.asarray(leaf)
    return array.reshape(array.shape[0] if layered else 1, -1)


def task_vector_row(
    base: Any, source: Any, layered: bool, layer: int
) -> Float[np.ndarray, "elements"]:
    """Source minus base of one layer in float32, flat: the same numbers as on the device."""
    origin, end = rows(base, layered)[layer], rows(source, layered)[layer]
    return end.astype(np.float32) - origin.astype(np.float32)
