"""Tensors that stay in their file until their elements are asked for."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np


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
    ndim = 1

    @abstractmethod
    def __getitem__(self, elements: slice) -> np.ndarray:
        """The elements of a slice, which are valid until others are asked for."""

    @abstractmethod
    def window(self, first: int, count: int) -> Window:
        """Elements from ``first`` on in aligned memory, valid until others are asked for.

        Any others follow the last element of the tensor.
        """
