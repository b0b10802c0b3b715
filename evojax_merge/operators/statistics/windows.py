"""Elements of a flat tensor that a compiled program takes without copying them.

JAX's CPU backend adopts host memory that is aligned. What is asked for seldom begins so: a program
is given memory that begins a little before, and is told how much.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

ALIGNMENT = 64
"""Bytes."""


class Window(NamedTuple):
    """Elements within aligned memory: ``size`` of them, behind ``skip`` others."""

    held: np.ndarray
    skip: int
    size: int

    @property
    def elements(self) -> np.ndarray:
        """Those asked for."""
        return self.held[self.skip : self.skip + self.size]


class OnDisk(ABC):
    """A tensor of one axis that reads the elements it is asked for."""

    shape: tuple[int]
    dtype: np.dtype

    @abstractmethod
    def __getitem__(self, elements: slice) -> np.ndarray:
        """These elements, until others are asked for."""

    @abstractmethod
    def window(self, first: int, count: int) -> Window:
        """See `window`; until another is asked for."""


def slack(dtype: np.dtype) -> int:
    """How many elements a window holds besides those asked for."""
    return ALIGNMENT // dtype.itemsize


def window(tensor: Any, first: int, count: int) -> Window:
    """So many elements from ``first`` on; behind the tensor's last one come any others.

    Args:
        tensor: Of one axis, in memory or on disk.
        first: The first element asked for.
        count: A program is compiled once for windows of as many, wherever they begin.
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
