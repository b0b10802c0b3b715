"""What is known of candidates, so that nothing is measured twice."""

from collections.abc import Callable, Sequence

import numpy as np

from evojax_merge.params.types import Float, Int

KeyFn = Callable[[Float[np.ndarray, "pop dims"]], Sequence[bytes]]
"""A function from genotypes to keys, which are equal where candidates are the same model."""


class Memory:
    """Results by candidate and item.

    Candidates are deterministic, so that what was measured once is true for good. One of several
    genotypes that decode to the same (a density between two steps of its grid, a slot of a path
    that is not taken) is measured for all. Of a candidate that was measured in part, only the rest
    is measured.

    Args:
        key_fn: The function that tells candidates apart.
        items: The number of items.
    """

    def __init__(self, key_fn: KeyFn, items: int) -> None:
        self._key_fn = key_fn
        self._items = items
        self._known: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

    def keys(self, genotypes: Float[np.ndarray, "pop dims"]) -> list[bytes]:
        """What tells each genotype from others."""
        return list(self._key_fn(genotypes))

    def missing(self, key: bytes, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " missing"]:
        """The items among those given that are not known of a candidate."""
        if key not in self._known:
            return rows
        return rows[~self._known[key][1][rows]]

    def recall(self, key: bytes, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """The known results of a candidate; nan where there is none."""
        return self._known[key][0][rows]

    def keep(
        self, key: bytes, rows: Int[np.ndarray, " rows"], results: Float[np.ndarray, " rows"]
    ) -> None:
        """Remember results; one that is not finite is measured again when it is asked for again.

        In the history, which a resumed search learns from, it looks like one never measured.
        """
        if key not in self._known:
            self._known[key] = np.full(self._items, np.nan, np.float32), np.zeros(self._items, bool)
        values, known = self._known[key]
        values[rows], known[rows] = results, np.isfinite(results)
