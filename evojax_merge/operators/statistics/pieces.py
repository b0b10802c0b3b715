"""Pieces of a tensor, worked on one after another."""

from collections.abc import Iterator

PIECE = 2**16
"""How many elements are worked on at once, so that they stay in a processor's cache."""

LARGE = 2**19
"""How many elements one call of a compiled program works on."""

SMALL = 2**16
"""How many elements a call works on at the end of a tensor; a tensor must have at least as many."""


def of_two_lengths(size: int) -> Iterator[tuple[slice, int]]:
    """Pieces for which a program is compiled twice at most, with how much of each was in the last.

    Args:
        size: The number of elements, at least `SMALL`.
    """
    large = size - size % LARGE
    for start in (*range(0, large, LARGE), *range(large, size, SMALL)):
        length = LARGE if start < large else SMALL
        piece = slice(min(start, size - length), min(start + length, size))
        yield piece, start - piece.start
