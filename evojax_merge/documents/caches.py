"""Directories of a user's own that keep what is expensive to compute, each within a limit."""

import os
from collections.abc import Iterable
from pathlib import Path


def cache_directory(name: str) -> str:
    """The directory ``$XDG_CACHE_HOME/evojax-merge/NAME``, by default in ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return str(Path(home) / "evojax-merge" / name)


def shrink(files: Iterable[Path], limit: float) -> int:
    """Remove the files used longest ago, by their times of modification, beyond the limit.

    Args:
        files: The entries of a cache.
        limit: How many bytes they may take together.

    Returns:
        How many bytes those that are left take.

    Raises:
        OSError: A file cannot be removed.
    """
    entries = []
    for file in files:
        try:
            state = file.stat()
        except FileNotFoundError:  # another process has removed it
            continue
        entries.append((state.st_mtime_ns, state.st_size, file))
    total = sum(size for _, size, _ in entries)
    for _, size, file in sorted(entries):
        if total <= limit:
            break
        file.unlink(missing_ok=True)
        total -= size
    return total
