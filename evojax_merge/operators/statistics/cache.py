"""Statistics of operators on disk, found again by the content of what they were computed from."""

import dataclasses
import hashlib
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from evojax_merge import hosts
from evojax_merge.documents.arguments import check_number
from evojax_merge.documents.caches import cache_directory, shrink
from evojax_merge.documents.files import write_whole

FORMAT = 3
"""This is raised whenever the same weights give other statistics, or these are kept otherwise."""

LIMIT_GB = 20.0
SUFFIX = ".safetensors"
_ENTRY = re.compile(rf"[0-9a-f]{{64}}{re.escape(SUFFIX)}")


def default_directory() -> str:
    """The directory ``$XDG_CACHE_HOME/evojax-merge/statistics``, by default in ``~/.cache``."""
    return cache_directory("statistics")


@dataclasses.dataclass(frozen=True)
class StatisticsCache:
    """A directory of entries, of which those read or written longest ago are removed.

    It never fails: an entry that is damaged, or cannot be read or written, is a warning.

    Attributes:
        directory: The directory, which is made when something is written.
        limit_gb: The most that all entries take together, in 10**9 bytes.
        content: What messages call that which is kept.
    """

    directory: Path
    limit_gb: float = LIMIT_GB
    content: str = "statistics"

    def __post_init__(self) -> None:
        check_number("statistics_cache.limit_gb", self.limit_gb, 0)

    def entry(
        self, name: str, weights: Sequence[str | None], settings: Mapping[str, Any]
    ) -> "Entry":
        """The place of the statistics that ``name`` stands for.

        Args:
            name: The name of the statistics, `Operator.statistics_name`.
            weights: The hashes of the base (None if it is not used) and of the sources, in order.
            settings: What else changes the numbers, as plain values.
        """
        account = [FORMAT, name, list(weights), dict(settings), jax.default_backend()]
        text = json.dumps(account, sort_keys=True, ensure_ascii=False)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return Entry(self, self.directory / f"{digest}{SUFFIX}")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file of arrays in a `StatisticsCache`."""

    cache: StatisticsCache
    file: Path

    def read(self) -> dict[str, np.ndarray] | None:
        """The arrays of the entry; None where there are none, or none that can be trusted.

        Of several processes all have them or none: they compute statistics together.
        """
        arrays = self._read()
        return arrays if hosts.least(int(arrays is not None)) else None

    def _read(self) -> dict[str, np.ndarray] | None:
        if not self.file.is_file():
            return None
        try:
            with safe_open(self.file, "numpy") as opened:
                arrays = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
                expected = (opened.metadata() or {}).get("sha256")
            if _digest(arrays) != expected:
                raise ValueError("its sha256 is not the one it was written with")
            self.file.touch()
        except (OSError, ValueError, SafetensorError) as error:
            what = self.cache.content
            _warn(f"{self.file}: {what} cannot be read ({error}) and are computed again")
            return None
        return arrays

    def write(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the arrays, and remove the oldest entries beyond the limit.

        Of several processes the first one does, and others where they have a directory of their
        own.
        """
        if not hosts.is_first():
            hosts.barrier()
        if hosts.is_first() or not self.file.is_file():
            self._write(arrays)
        if hosts.is_first():
            hosts.barrier()

    def _write(self, arrays: Mapping[str, np.ndarray]) -> None:
        limit = self.cache.limit_gb * 1e9
        if sum(array.nbytes for array in arrays.values()) > limit:
            return
        try:
            metadata = {"sha256": _digest(arrays)}
            write_whole(self.file, lambda file: save_file(dict(arrays), file, metadata))
            shrink(_entries(self.cache.directory), limit)
        except (OSError, SafetensorError) as error:
            what = self.cache.content
            _warn(f"{self.file}: {what} cannot be kept ({error}); the run goes on without")


def _entries(directory: Path) -> list[Path]:
    """The files of a cache; others are somebody's weights, in a directory that is no cache."""
    return [file for file in directory.glob(f"*{SUFFIX}") if _ENTRY.fullmatch(file.name)]


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)
