"""Items of padded batches, a few at a time."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from evojax_merge.params.types import PRNGKey

Fields = tuple[Any, ...]
"""Arrays with the items on their first axis."""


def draw(key: PRNGKey, batches: Sequence[Fields], size: int) -> Fields:
    """Random items of one padded length; all of that length where it has fewer."""
    key_batch, key_rows = jax.random.split(key)
    counts = np.array([len(batch[0]) for batch in batches])
    which = int(jax.random.choice(key_batch, len(counts), p=counts / counts.sum()))
    rows = np.asarray(jax.random.permutation(key_rows, int(counts[which]))[:size])
    return tuple(field[rows] for field in batches[which])


def pieces(batches: Sequence[Fields], size: int) -> Iterator[tuple[Fields, int]]:
    """All items in turn, and how many of each piece count, since the last piece is filled up."""
    for batch in batches:
        count = len(batch[0])
        each = min(size, count)
        for first in range(0, count, each):
            rows = np.minimum(np.arange(first, first + each), count - 1)
            yield tuple(field[rows] for field in batch), min(each, count - first)
