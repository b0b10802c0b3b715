"""What networks that are not merged compute of a task's items, kept on disk between runs."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from evojax_merge.documents.files import at_home
from evojax_merge.operators.statistics.cache import StatisticsCache, default_directory
from evojax_merge.params.tree import flatten
from evojax_merge.params.types import Params

Rows = dict[str, np.ndarray]
"""Arrays by name, each with a row for each of some items."""


class Kept:
    """A place on disk for what is computed of items, found again by what it was computed from.

    Args:
        directory: The directory, ``default`` for that of statistics, or None to keep nothing.
        content: What messages call that which is kept.
    """

    def __init__(self, directory: str | None, content: str) -> None:
        self._cache = None
        if directory is not None:
            found = at_home(default_directory() if directory == "default" else directory)
            self._cache = StatisticsCache(Path(found), content=content)

    def __call__(
        self,
        name: str,
        weights: str,
        settings: Mapping[str, Any],
        items: Sequence[str],
        compute: Callable[[list[int]], Rows],
    ) -> Rows:
        """Return what is computed of items, of which those that are not known are computed.

        Args:
            name: The name of what is computed.
            weights: The hash of the network's weights, see `params_hash`.
            settings: What else changes the numbers, as plain values.
            items: A hash or a text for each item, at least one. Equal items are computed once.
            compute: The function from the places of some of the items to their rows.
        """
        places = {item: place for place, item in reversed(list(enumerate(items)))}
        known = {item: self._read(name, weights, settings, item) for item in places}
        missing = [item for item, rows in known.items() if rows is None]
        if missing:
            made = compute([places[item] for item in missing])
            for number, item in enumerate(missing):
                known[item] = own = {key: rows[number] for key, rows in made.items()}
                self._write(name, weights, settings, item, own)
        found = [rows for item in items if (rows := known[item]) is not None]
        return {key: np.stack([rows[key] for rows in found]) for key in found[0]}

    def _read(self, name: str, weights: str, settings: Mapping[str, Any], item: str) -> Rows | None:
        if self._cache is None:
            return None
        return self._cache.entry(name, [weights], {**settings, "item": item}).read()

    def _write(
        self, name: str, weights: str, settings: Mapping[str, Any], item: str, rows: Rows
    ) -> None:
        if self._cache is not None:
            self._cache.entry(name, [weights], {**settings, "item": item}).write(rows)


def params_hash(params: Params) -> str:
    """Hash the names, dtypes, shapes and bytes of all leaves by SHA-256."""
    leaves = flatten(params)
    account = [
        [path, str(leaf.dtype), list(leaf.shape), array_hash(np.asarray(leaf))]
        for path, leaf in sorted(leaves.items())
    ]
    return hashlib.sha256(json.dumps(account).encode()).hexdigest()


def array_hash(array: np.ndarray) -> str:
    """Hash the bytes of an array by SHA-256."""
    return hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).hexdigest()


def storable(array: np.ndarray) -> np.ndarray:
    """Return the same bytes in a dtype that NumPy has of its own."""
    return array.view(np.uint16) if array.dtype == ml_dtypes.bfloat16 else array
