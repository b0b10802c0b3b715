"""Files that are whole or not there, and paths that may lead to something else than a file.

A pipe would be waited for, and a device read for ever.
"""

import contextlib
import hashlib
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from evojax_merge.documents.errors import DocumentError

LARGEST = 128 * 2**20
"""The most bytes of a text that is read whole. The largest tokenizers in use have 35 million."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading.

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
    """Read the text of a UTF-8 file.

    Args:
        path: The file.
        most: How many bytes the file may have.

    Raises:
        DocumentError: The file is missing, no regular file, too large, or not UTF-8.
        OSError: The file may not be read.
    """
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise DocumentError(f"is larger than {most / 2**20:g} MiB; it cannot be what it should be")
    return decoded(content)


def decoded(content: bytes) -> str:
    """Decode UTF-8 to text.

    Raises:
        DocumentError: The content is not UTF-8.
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
        DocumentError: There is no such home, or the path holds a zero byte.
    """
    if "\0" in str(path):
        raise DocumentError("is no path (it holds a zero byte)")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise DocumentError("names the home of a user who is not known here") from None


def write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """Have a file written beside its place and moved there, its directory made if need be.

    Where several write the same file at once, the last one wins. A failure leaves nothing behind.

    Args:
        file: The file to write.
        write: A function that writes to the path that it is given.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        write(partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def remove_partial(directory: Path) -> None:
    """Remove what killed processes left of `write_whole`; nobody else may be writing there."""
    for path in directory.glob(".*"):
        if re.fullmatch(r"\..+\.\d+\.\d+", path.name) and path.is_file():
            path.unlink()


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Make errors of the operating system say which file they are about.

    By themselves only errors of opening do, and those of reading and writing (a full disk) do not.

    Args:
        path: The file that errors are about if they do not say.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def write_text(file: Path, text: str) -> None:
    """Write a text as UTF-8 by `write_whole`.

    Raises:
        OSError: It cannot be written; the error says which file that is.
    """
    with naming(file):
        write_whole(file, lambda partial: partial.write_text(text, encoding="utf-8"))


def sha256(file: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def links_out(directory: Path) -> list[Path]:
    """The links in a directory, and in the folders below it, that lead out of the directory."""
    home = directory.resolve()
    found = []
    for folder, folders, files in os.walk(directory):
        for name in (*folders, *files):
            path = Path(folder) / name
            if path.is_symlink() and not _target(path).is_relative_to(home):
                found.append(path)
    return sorted(found)


def irregular(directory: Path) -> list[Path]:
    """What a directory, or a folder below it, holds that is no file and no folder.

    A pipe would be waited for, and a device read for ever.
    """
    paths = [Path(folder) / name for folder, _, files in os.walk(directory) for name in files]
    return sorted(path for path in paths if path.exists() and not path.is_file())


def _target(link: Path) -> Path:
    """The path that a link leads to in the end; a circle leads to the root, which is in nothing."""
    try:
        return link.resolve()
    except (OSError, RuntimeError):
        return Path(link.anchor or "/")
