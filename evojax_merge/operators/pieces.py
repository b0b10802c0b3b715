"""Pieces of a tensor that stay in a processor's cache."""

from collections.abc import Iterator

PIECE = 2**16
"""Elements worked on at once."""


def parts(size: int) -> Iterator[slice]:
    """Pieces of so many elements."""
    return (slice(start, min(start + PIECE, size)) for start in range(0, size, PIECE))
