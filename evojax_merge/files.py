"""Files that are whole or not there."""

import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path


def write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """Have a file written beside its place and moved there, its directory made if need be.

    Of several that write the same file at once, the last wins. A failure leaves nothing behind.

    Args:
        file: Where to.
        write: Given the path to write to.
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
    """Errors of the operating system say which file they are about.

    Those of reading and writing (a full disk) do not by themselves, only those of opening.

    Args:
        path: What they are about if they do not say.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def sha256(file: Path) -> str:
    """Of the bytes of a file, in hexadecimal."""
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
    """What is in a directory, and in the folders below it, and is no file and no folder.

    A pipe would be waited for, and a device read for ever.
    """
    paths = [Path(folder) / name for folder, _, files in os.walk(directory) for name in files]
    return sorted(path for path in paths if path.exists() and not path.is_file())


def _target(link: Path) -> Path:
    """Where a link leads in the end; a circle leads to the root, which is within nothing."""
    try:
        return link.resolve()
    except (OSError, RuntimeError):
        return Path(link.anchor or "/")
