"""The c-th greatest number of tensors that are read a piece at a time, in little memory.

The same order as `evojax_merge.operators.statistics.selection`: numbers fall, equal ones by `rank`.
Each element is a 64-bit key (the complement of its magnitude's bits, then its rank), and the c-th
smallest key is found from its leading 16 bits on: a pass counts how many elements have each of the
next 16 bits, until so few share the bits known that they are gathered and partitioned.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from evojax_merge.operators.statistics.ordering import ALL, rank
from evojax_merge.operators.steps.cuts import Cut

Pieces = Callable[[], Iterator[tuple[int, Sequence[np.ndarray]]]]
"""One pass over some tensors: where a piece begins, and float32 numbers of each, none negative."""

DIGIT = 16
"""Bits found in one pass."""

FEW = 2**20
"""Elements that are gathered."""

_float: Any = np.float32
"""Numbers on the host, where the operators' types want arrays."""
_order: Any = np.uint32

NONE = Cut(_float(np.inf), _order(0))
EVERYTHING = Cut(_float(-1.0), _order(ALL))


def cuts(pieces: Pieces, counts: Sequence[Sequence[int]]) -> list[list[Cut]]:
    """Find the cuts that hold the c greatest elements.

    Args:
        pieces: Makes a pass over the tensors.
        counts: Of each tensor: the numbers c, from 0 to its size.
    """
    searches = [[_Search(count) for count in own] for own in counts]
    while any(search.open for own in searches for search in own):
        for first, values in pieces():
            for own, magnitude in zip(searches, values, strict=True):
                shared: np.ndarray | None = None
                for search in own:
                    if search.open:
                        shared = search.look(first, magnitude.view(np.uint32), shared)
        for own in searches:
            for search in own:
                if search.open:
                    search.narrow()
    return [[search.cut for search in own] for own in searches]


class _Search:
    """For one key: the leading bits that are known of it, and what shares them."""

    def __init__(self, count: int) -> None:
        self.cut = NONE
        self.open = count > 0
        self._left = count
        self._known = 0
        self._prefix = 0
        self._sharing: int | None = None
        self._start()

    def _start(self) -> None:
        self._histogram = np.zeros(1 << DIGIT, np.int64)
        self._gathered: list[np.ndarray] = []

    def look(self, first: int, bits: np.ndarray, shared: np.ndarray | None) -> np.ndarray | None:
        """Take a piece into account; the first digit's histogram is that of all searches."""
        if self._known == 0:
            if shared is None:
                shared = np.bincount(bits >> DIGIT, minlength=1 << DIGIT)[::-1]
            self._histogram += shared
            return shared
        keys = self._keys(first, bits)
        if self._few:
            self._gathered.append(keys)
        else:
            digit = (keys >> np.uint64(64 - DIGIT - self._known)) & np.uint64((1 << DIGIT) - 1)
            self._histogram += np.bincount(digit.astype(np.int64), minlength=1 << DIGIT)
        return None

    def narrow(self) -> None:
        """What the pass has found."""
        if self._known and self._few:
            keys = np.concatenate(self._gathered)
            self._found(int(np.partition(keys, self._left - 1)[self._left - 1]))
        else:
            total = np.cumsum(self._histogram)
            digit = int(np.searchsorted(total, self._left))
            self._sharing = int(self._histogram[digit])
            self._left -= int(total[digit]) - self._sharing
            self._prefix = (self._prefix << DIGIT) | digit
            self._known += DIGIT
            if self._known == 64:
                self._found(self._prefix)
        self._start()

    @property
    def _few(self) -> bool:
        return self._sharing is not None and self._sharing <= FEW

    def _keys(self, first: int, bits: np.ndarray) -> np.ndarray:
        """Those of the elements that share the bits known."""
        of_value = min(self._known, 32)
        leading = self._prefix >> (self._known - of_value)
        wanted = np.uint32(leading ^ ((1 << of_value) - 1))
        index = np.flatnonzero((bits >> np.uint32(32 - of_value)) == wanted)
        keys = (~bits[index]).astype(np.uint64) << np.uint64(32)
        keys |= rank((index + first).astype(np.uint32))
        if self._known > 32:
            keys = keys[(keys >> np.uint64(64 - self._known)) == np.uint64(self._prefix)]
        return keys

    def _found(self, key: int) -> None:
        value = np.array([~np.uint32(key >> 32)], np.uint32).view(np.float32)[0]
        self.cut = Cut(value, _order(key & 0xFFFFFFFF))
        self.open = False
