"""Opening a file that may not be one: a pipe would be waited for, and a device read for ever."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from evojax_merge.documents.errors import DocumentError

LARGEST = 128 * 2**20
"""Bytes of a text that is read whole. The largest tokenizers in use have 35 million."""


def open_regular(path: Path) -> BinaryIO:
    """A regular file, opened for reading.

    Raises:
        DocumentError: The path leads to nothing, or to something else than a file.
        OSError: The file may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise DocumentError("missing (no such file)") from None
    except ValueError:
        raise DocumentError("is no path (it holds a zero byte)") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DocumentError("is no regular file; replace it by one, or remove it")
    return os.fdopen(descriptor, "rb")


def read_text(path: Path, most: int = LARGEST) -> str:
    """The text of a UTF-8 file.

    Args:
        path: The file.
        most: Bytes that it may have.

    Raises:
        DocumentError: It is missing, no regular file, too large, or not UTF-8.
        OSError: The file may not be read.
    """
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise DocumentError(f"is larger than {most / 2**20:g} MiB; it cannot be what it should be")
    return decoded(content)


def decoded(content: bytes) -> str:
    """UTF-8 as text.

    Raises:
        DocumentError: It is not UTF-8.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DocumentError(
            f"not UTF-8 ({error.reason}, byte {error.start}); save it as UTF-8"
        ) from None


def at_home(path: str | Path) -> Path:
    """The path, with ``~`` and ``~name`` replaced by home directories.

    Raises:
        DocumentError: There is no such home, or a path cannot be so.
    """
    if "\0" in str(path):
        raise DocumentError("is no path (it holds a zero byte)")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise DocumentError("names the home of a user who is not known here") from None
