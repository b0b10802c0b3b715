"""Markdown in which no text of strangers acts.

Names of models, tasks and experiments may hold what Markdown, HTML or a terminal takes for more
than a name. They are written as code, in which nothing is read but its end.
"""

import re
from collections.abc import Iterable, Sequence

from evojax_merge.documents.terminal import printable

_LONGEST = 200
"""How many characters of a text are shown."""


def code(text: object) -> str:
    """A text as code within a line or a cell of a table.

    Line breaks are shown as blanks, and a bar, which would end a cell, as a broken one.
    """
    shown = printable(" ".join(str(text).split())).replace("|", "¦")
    if len(shown) > _LONGEST:
        shown = f"{shown[:_LONGEST]}…"
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    pad = " " if shown.startswith("`") or shown.endswith("`") or not shown else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def block(text: str, language: str) -> str:
    """Lines of a text as a block of code."""
    lines = printable(text).rstrip("\n")
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", lines)), default=0))
    return f"{fence}{language}\n{lines}\n{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int) -> str:
    """A table of cells that are Markdown already.

    Args:
        head: The first row.
        rows: The other rows, as long as the first.
        numbers: The first column that holds numbers, which stand on the right.
    """
    rules = ["---" if place < numbers else "---:" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rules, *rows))
