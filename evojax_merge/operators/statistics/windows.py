"""Elements of a flat tensor that a compiled program takes without copying them.

JAX's CPU backend adopts host memory that is aligned. What is asked for seldom begins so. A program
is therefore given memory that begins a little before, and is told how much.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

ALIGNMENT = 64
"""Memory begins at a multiple of so many bytes."""


class Window(NamedTuple):
    """Elements within aligned memory: ``size`` of them, behind ``skip`` others."""

    held: np.ndarray
    skip: int
    size: int

    @property
    def elements(self) -> np.ndarray:
        """The elements asked for."""
        return self.held[self.skip : self.skip + self.size]


class OnDisk(ABC):
    """A tensor of one axis that reads the elements it is asked for."""

    shape: tuple[int]
    dtype: np.dtype

    @abstractmethod
    def __getitem__(self, elements: slice) -> np.ndarray:
        """The elements of a slice, which are valid until others are asked for."""

    @abstractmethod
    def window(self, first: int, count: int) -> Window:
        """The window that `window` describes, which is valid until another is asked for."""


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
