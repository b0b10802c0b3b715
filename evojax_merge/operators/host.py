"""Leaves on the host, for the statistics computed once before a search."""

from typing import Any

import numpy as np


def rows(leaf: Any, layered: bool) -> np.ndarray:
    """A view ``[layers, elements]`` of a stacked leaf, ``[1, elements]`` of any other.

    Nothing is converted here: callers take one row to float32 at a time, so that a large model is
    never held twice.
    """
    array = np.asarray(leaf)
    return array.reshape(array.shape[0] if layered else 1, -1)
