"""A lock, by which one process at a time writes a run's directory."""

import contextlib
import errno
import fcntl
import os
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from evojax_merge.documents.files import naming

FILE = ".lock"
"""The file of the lock in the directory; it stays there, and what counts is who holds its lock."""

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class LockedError(ValueError):
    """The error that another process writes the directory."""


class ReadOnlyError(OSError):
    """The error that the directory cannot be written."""


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a directory within the block, against other processes and threads.

    The system gives the lock back when the process ends, in whatever way. It holds between the
    machines that share a network disk as well (Linux turns ``flock`` into a lock of the server).

    Args:
        directory: A directory that exists.

    Raises:
        LockedError: The directory is held.
        ReadOnlyError: The directory cannot be written.

    Warns:
        UserWarning: The file system has no locks.
    """
    path = directory / FILE
    try:
        file = path.open("a+b")
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        raise ReadOnlyError(error.errno, os.strerror(error.errno), str(path)) from error
    with file:
        _take(file, directory)
        with naming(path):
            file.truncate(0)
            file.write(f"{os.getpid()} {socket.gethostname()}\n".encode())
            file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # of a full disk; the lock goes with the file
                file.truncate(0)


def _take(file: BinaryIO, directory: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LockedError(
            f"{directory}: is being written by {_owner(file)}; wait until it has ended, "
            "or end it, and then resume"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"{directory}: its file system has no locks ({error.strerror}); see to it that no "
            "other process writes this run",
            stacklevel=4,
        )


def holder(directory: Path) -> str | None:
    """Who writes a directory at this moment; None if nobody does, or nobody can tell."""
    path = directory / FILE
    try:
        if not path.is_file() or not path.stat().st_size:
            return None  # whoever holds it says so in the file
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _owner(file)
    except OSError:
        pass
    return None


def _owner(file: BinaryIO) -> str:
    file.seek(0)
    owner = file.read(300).decode(errors="replace").split()
    return f"process {owner[0]} on {owner[1]}" if len(owner) == 2 else "another process"
