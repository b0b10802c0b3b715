"""The order of a tensor's numbers where they lie in files, read a piece at a time in little memory.

It is the order of `statistics.ordering`: numbers fall, and equal ones follow by `rank`. Each
element is a 64-bit key (the complement of its magnitude's bits, then its rank), and the c-th
smallest key is found from its leading 16 bits on. A pass counts how many elements have each of the
next 16 bits, until so few share the bits known that they are gathered and partitioned.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from evojax_merge.operators.statistics.pieces import PIECE
from evojax_merge.operators.steps.cuts import NOTHING, Cut, rank
from evojax_merge.operators.steps.trimming import Norm

Pieces = Callable[[], Iterator[tuple[int, Sequence[np.ndarray]]]]
"""One pass over some tensors, which yields where a piece begins and the float32 numbers of each
tensor in it, none negative."""

DIGIT = 16
"""How many bits are found in one pass."""

FEW = 2**20
"""How many elements are gathered at most."""


class Tensors(NamedTuple):
    """One tensor of the base and of every source, flat, in memory or on disk.

    Attributes:
        base: The tensor of the base.
        sources: The tensor of each source.
        shape: The shape of the tensors before they are flat.
    """

    base: Any
    sources: tuple[Any, ...]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.base.shape[0]

    def of(self, sources: Sequence[int]) -> "Tensors":
        """The same tensors with some of the sources alone."""
        return self._replace(sources=tuple(self.sources[index] for index in sources))

    def task_vectors(self) -> Iterator[tuple[int, list[np.ndarray]]]:
        """One pass over the task vectors in float32; the numbers are those of the merge."""
        for first in range(0, self.size, PIECE):
            part = slice(first, min(first + PIECE, self.size))
            origin = self.base[part].astype(np.float32)
            yield first, [source[part].astype(np.float32) - origin for source in self.sources]

    def magnitudes(self) -> Iterator[tuple[int, list[np.ndarray]]]:
        """One pass over the absolute values of the task vectors."""
        for first, vectors in self.task_vectors():
            yield first, [np.abs(vector, out=vector) for vector in vectors]


def in_pieces(numbers: np.ndarray) -> Pieces:
    """Passes over the numbers of one tensor that is in memory."""

    def pieces() -> Iterator[tuple[int, list[np.ndarray]]]:
        for first in range(0, len(numbers), PIECE):
            yield first, [numbers[first : first + PIECE]]

    return pieces


def cuts_of(pieces: Pieces, counts: Sequence[Sequence[int]]) -> list[list[Cut]]:
    """Find the cuts that hold the c greatest elements.

    Args:
        pieces: A function that makes a pass over the tensors.
        counts: The numbers c of each tensor, from 0 to its size.
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


def held(cut: Cut, first: int, magnitude: np.ndarray) -> np.ndarray:
    """The mask of the elements of a piece that a cut holds.

    Args:
        cut: The cut of the whole tensor.
        first: The position of the piece.
        magnitude: The elements of the piece.
    """
    order = rank(np.arange(first, first + magnitude.size, dtype=np.uint32))
    return np.asarray(cut.holds(magnitude, order))


def sums_between(
    tensors: Tensors, bounds: Sequence[tuple[Cut, Cut]], norm: Norm | None
) -> list[tuple[float, float]]:
    """The sums of a norm over what the second of two cuts holds but not the first, and over all.

    Absolute values are summed for l1, squares for l2. For linf the greatest absolute value takes
    the place of a sum.

    Args:
        tensors: The tensors whose task vectors are measured.
        bounds: Two cuts of each source.
        norm: The norm; with None every sum is 1, and nothing is read.
    """
    if norm is None or not bounds:
        return [(1.0, 1.0)] * len(bounds)
    sums = np.zeros((len(bounds), 2))
    for first, magnitudes in tensors.magnitudes():
        for row, magnitude, (upper, lower) in zip(sums, magnitudes, bounds, strict=True):
            kept = magnitude[held(lower, first, magnitude) & ~held(upper, first, magnitude)]
            if norm == "linf":
                row[:] = np.maximum(row, [some.max(initial=0.0) for some in (kept, magnitude)])
            else:
                power = 2 if norm == "l2" else 1
                row += [(some**power).sum(dtype=np.float64) for some in (kept, magnitude)]
    return [(kept, whole) for kept, whole in sums]


class _Search:
    """The search for one key: the leading bits that are known of it, and what shares them."""

    def __init__(self, count: int) -> None:
        self.cut = NOTHING
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
        """Take a piece into account; all searches share the first digit's histogram."""
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
        """Take over what the pass has found."""
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
        """The keys of the elements that share the bits known."""
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
        self.cut = Cut(value, np.uint32(key & 0xFFFFFFFF))
        self.open = False
