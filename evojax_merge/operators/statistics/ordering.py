"""The order of a tensor's numbers: from the greatest on, equal ones by `rank`.

Statistics ask an `Order` which elements are the c greatest. There is one on the host
(`statistics.on_host`) and one on a GPU (`statistics.on_device`); tensors in files are looked
through a piece at a time in the same order (`statistics.on_file`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from evojax_merge.operators.base import GOLDEN
from evojax_merge.operators.statistics.numbers import Numbers
from evojax_merge.operators.steps.cuts import ALL, Cut, rank

SMALLEST_NORMAL = 0x00800000
"""The bits of the smallest float32 that is not subnormal."""


class Order(ABC):
    """The elements of a tensor from the greatest on, equal ones by `rank`.

    Counts are whole numbers from 0 to the size of the tensor. They rise, and are fewer than 2**16.

    Attributes:
        size: The number of elements.
    """

    size: int

    @property
    @abstractmethod
    def zeros(self) -> int:
        """The number of elements that are zero."""

    @abstractmethod
    def cut(self, counts: np.ndarray) -> Cut:
        """The cut that holds the c greatest elements, for every count c from 1."""

    @abstractmethod
    def first(self, counts: np.ndarray) -> Any:
        """The position of the first count whose set holds an element, for every element.

        It is uint16. For an element that no set holds it is the number of counts.
        """

    @abstractmethod
    def sums(self, counts: np.ndarray, power: int = 1) -> np.ndarray:
        """The sum of a power of the c greatest elements, for every count c, in float64.

        Args:
            counts: The sizes of the sets.
            power: The power, 1 or 2; powers are made in float32 and added in float64.
        """

    @abstractmethod
    def sums_of(self, tensors: Sequence[Any], counts: np.ndarray, power: int = 1) -> np.ndarray:
        """Sums like `sums` of other numbers of the same elements, float64 ``[tensors, counts]``.

        Args:
            tensors: Tensors in float32 that lie where the ordered one does, with as many elements.
            counts: The sizes of the sets.
            power: The power, 1 or 2.
        """


def bits_of(numbers: Numbers) -> np.ndarray:
    """The bits of the numbers, uint32, which order as these do."""
    return without_subnormal(np.ascontiguousarray(numbers.made()).view(np.uint32))


def without_subnormal(bits: Any) -> Any:
    """Put the bits of zero in the place of those of subnormal numbers.

    The bits are of non-negative float32. Compiled programs, a merge among them, may take subnormal
    numbers for zero.
    """
    return bits * (bits >= np.uint32(SMALLEST_NORMAL)).astype(np.uint32)


def words(bits: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Words, uint64, that rise in the order of the elements.

    Args:
        bits: The bits of non-negative float32, uint32, which order as these do.
        index: The positions of the same elements, uint32.
    """
    order = (~bits).astype(np.uint64)
    order <<= np.uint64(32)
    order |= rank(index)
    return order


def elements(words: np.ndarray) -> np.ndarray:
    """The elements that `words` were made of, uint32."""
    return words.astype(np.uint32) * np.uint32(pow(GOLDEN, -1, 2**32))


def cut_at(ordered: np.ndarray, last: np.ndarray) -> Cut:
    """The cut whose last elements are at some positions.

    Args:
        ordered: Sorted `words`, in which the element that follows a last one is the next in order.
        last: The positions of the last elements in ``ordered``.
    """
    value = ordered >> np.uint64(32)
    following = np.minimum(last + 1, len(ordered) - 1)
    equal = (following > last) & (value[following] == value[last])
    threshold = ~value[last].astype(np.uint32)
    cutoff = np.where(equal, (ordered[last] & np.uint64(ALL)).astype(np.uint32), ALL)
    return Cut(threshold.view(np.float32), cutoff)
