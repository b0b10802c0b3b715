"""Pieces of a tensor, worked on one after another."""

from collections.abc import Iterator

PIECE = 2**16
"""Elements worked on at once, so that they stay in a processor's cache."""

LARGE = 2**19
"""Elements that a compiled program works on at once, which it is called for."""

SMALL = 2**16
"""The same at the end of a tensor: the least that one must have."""


def of_two_lengths(size: int) -> Iterator[tuple[slice, int]]:
    """Pieces for which a program is compiled twice at most, and how much of each was in the last.

    Args:
        size: Elements, at least `SMALL`.
    """
    large = size - size % LARGE
    for start in (*range(0, large, LARGE), *range(large, size, SMALL)):
        length = LARGE if start < large else SMALL
        piece = slice(min(start, size - length), min(start + length, size))
        yield piece, start - piece.start
