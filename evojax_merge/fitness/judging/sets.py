"""Answers that are sets: lists of names in whatever order."""

import re
from collections.abc import Sequence
from typing import Any

from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.json_text import load_json
from evojax_merge.fitness.judging.fences import fenced_blocks
from evojax_merge.fitness.judging.score import Equality

_SEPARATOR = re.compile(r"[,、，\n]")
_MARK = re.compile(r"^\s*(?:[-*•・]|\d+[.)](?=\s))\s*")
"""What stands before an entry of a list in Markdown."""


class SetScore(Equality):
    """Right where a text names the same things as the right answer, in any order.

    A text is a JSON list, also in a fenced block, or else entries with commas or line breaks
    between them. Marks of lists (``-``, ``1.``) and white space around entries do not count. The
    right answer is a list in the data, or such a text. Of a list of lists the best counts.
    """

    plain = False

    def __init__(self) -> None:
        super().__init__(entries, _known_entries)

    def several(self, given: Any) -> Sequence[Any]:
        """The right sets; a list is one set."""
        if not given:
            return []
        nested = isinstance(given, list) and all(isinstance(one, list) for one in given)
        return given if nested else [given]


def entries(text: str) -> frozenset[str] | None:
    """The entries of a text, or None where there are none."""
    for part in [*fenced_blocks(text)[-1:], text]:
        try:
            value = load_json(part)
        except DocumentError:
            continue
        if isinstance(value, list):
            return frozenset(str(one).strip() for one in value) or None
    parts = (_MARK.sub("", part).strip() for part in _SEPARATOR.split(text))
    return frozenset(filter(None, parts)) or None


def _known_entries(value: Any) -> frozenset[str]:
    found = frozenset(str(one).strip() for one in value) if isinstance(value, list) else None
    found = found or entries(str(value))
    if not found:
        raise ValueError("it is an empty set")
    return found
