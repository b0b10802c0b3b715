"""A file that keeps what is said on the terminal, and when.

It is kept within a block, whoever speaks there. Where nothing is shown, as in Python by default,
it is kept all the same.
"""

import contextlib
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from evojax_merge.documents.files import naming

_open: list[TextIO] = []


def note(text: str) -> None:
    """Add some lines to the logs that are kept now; a full disk ends nothing here.

    Args:
        text: The lines, in which nothing acts on a terminal any more.
    """
    head, *others = text.rstrip().split("\n")
    lines = [f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {head}", *(f"  {one}" for one in others)]
    for file in _open:
        with contextlib.suppress(OSError, ValueError):
            file.write("\n".join(lines) + "\n")
            file.flush()


@contextlib.contextmanager
def keeping_log(path: Path) -> Iterator[None]:
    """Append to a file what is said within the block, its warnings, and the error that ends it.

    Args:
        path: The file.
    """
    from evojax_merge.documents.terminal import printable

    with naming(path):
        file = path.open("a", encoding="utf-8", errors="backslashreplace")
    shown = warnings.showwarning

    def showwarning(message: Warning | str, *where: Any, **more: Any) -> None:
        note(f"warning: {printable(str(message))}")
        shown(message, *where, **more)

    with file:
        _open.append(file)
        warnings.showwarning = showwarning
        try:
            yield
        except BaseException as error:
            note(printable("".join(traceback.format_exception(error))))
            raise
        finally:
            if warnings.showwarning is showwarning:  # else someone has taken its place
                warnings.showwarning = shown
            _open.remove(file)
