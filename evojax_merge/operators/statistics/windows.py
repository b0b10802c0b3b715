"""Elements of a flat tensor that a compiled program takes without copying them.

JAX's CPU backend adopts host memory that is aligned. What is asked for seldom begins so. A program
is therefore given memory that begins a little before, and is told how much.
"""

from typing import Any

import numpy as np

from evojax_merge.params.on_disk import OnDisk, Window

ALIGNMENT = 64
"""Memory begins at a multiple of so many bytes."""


def slack(dtype: np.dtype) -> int:
    """How many elements a window holds besides those asked for."""
    return ALIGNMENT // dtype.itemsize


def window(tensor: Any, first: int, count: int) -> Window:
    """A window of ``count`` elements from ``first`` on; any others follow the tensor's last one.

    Args:
        tensor: A tensor of one axis, in memory or on disk.
        first: The first element asked for.
        count: How many elements are asked for; a program is compiled once for each count, wherever
            windows begin.
    """
    if isinstance(tensor, OnDisk):
        return tensor.window(first, count)
    room = count + slack(tensor.dtype)
    if len(tensor) < room:
        held = np.zeros(room, tensor.dtype)
        held[: len(tensor) - first] = tensor[first:]
        return Window(held, 0, count)
    before = tensor[first:].ctypes.data % ALIGNMENT // tensor.dtype.itemsize
    start = min(max(first - before, 0), len(tensor) - room)
    return Window(tensor[start : start + room], first - start, count)
