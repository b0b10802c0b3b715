"""Folders in which candidates lie while a function looks at them."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "evojax-merge-candidate-"
RAM = Path("/dev/shm")


def folder_for(size: int, wanted: Path | None) -> Path:
    """The directory in which a candidate is put: the RAM disk where it has room, or that of files.

    Args:
        size: The bytes of a candidate.
        wanted: The directory that the user asks for, if any.
    """
    if wanted is not None:
        return wanted
    with contextlib.suppress(OSError):
        if os.access(RAM, os.W_OK) and shutil.disk_usage(RAM).free > 2 * size:
            return RAM
    return Path(tempfile.gettempdir())


@contextlib.contextmanager
def candidate_folder(parent: Path) -> Iterator[Path]:
    """Yield an empty folder, which is gone after the block.

    The process holds a lock on it, by which those that killed processes left are known and removed.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _clear(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _clear(parent: Path) -> None:
    """Remove the folders of this user that no process holds any more."""
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            held = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)
