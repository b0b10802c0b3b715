"""One way of printing to a terminal, in which no text acts.

Names of tensors, models, tasks and paths come from strangers. A terminal obeys escape sequences in
what is printed, text can be written to read backwards, and rich takes brackets for markup. Here all
of these are shown instead of obeyed.
"""

import io
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from evojax_merge.documents.log import note

_ACTING = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of characters that act on others: controls, formats, surrogates, breaks."""

_HARMLESS = "\n\t\u200c\u200d"
"""Those of these characters that are printed all the same: line breaks, tabs, and the joiners of
Persian and of emoji."""

_WIDTH = 160
"""How wide a table is in a log, in characters."""


def printable(text: str) -> str:
    """The text with every character that would act on a terminal written as its escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def cell(text: str) -> Text:
    """A name or a number as a table shows it."""
    return Text(printable(text))


def say(console: Console, message: str, label: str = "") -> None:
    """Print a message on lines that are not wrapped, and keep it in the log of a run.

    Args:
        console: The console to print to.
        message: The plain text, whoever wrote it.
        label: A word of ours that is put before the message, in bold.
    """
    text = Text.assemble((f"{label} " if label else "", "bold"), printable(message))
    note(text.plain)
    console.print(text, soft_wrap=True)


def show(console: Console, table: RenderableType) -> None:
    """Print a table whose cells are made by `cell`, and keep it in the log of a run."""
    plain = Console(
        file=io.StringIO(),
        width=_WIDTH,
        color_system=None,
        force_terminal=False,
        force_jupyter=False,  # which would show it below the cell instead
    )
    plain.print(table)
    assert isinstance(plain.file, io.StringIO)
    note("\n".join(map(str.rstrip, plain.file.getvalue().splitlines())))
    console.print(table)


def notebook_console() -> Console | None:
    """The console that prints below the cell of a notebook; None where there is no notebook.

    It prints lines, which stay as they are when the notebook is saved. Rich's own bars need
    ipywidgets, and are lost.
    """
    if not Console().is_jupyter:
        return None
    return Console(force_jupyter=False, force_terminal=False, width=100)


def announce_imports(console: Console, names: Iterable[str]) -> None:
    """Show which code from elsewhere a user's trust lets in, before it is imported."""
    for name in names:
        say(console, name, label="imports and runs")


def show_warning(console: Console, message: Warning | str, *where: Any) -> None:
    """Print a warning, as a function for ``warnings.showwarning``."""
    text = Text.assemble(("warning: ", "bold red"), printable(str(message)))
    console.print(text, soft_wrap=True)


def complain(message: str) -> None:
    """Print an error to the standard error stream."""
    print(printable(message), file=sys.stderr)


def _shown(character: str) -> str:
    if character in _HARMLESS or unicodedata.category(character) not in _ACTING:
        return character
    return character.encode("unicode_escape").decode()
