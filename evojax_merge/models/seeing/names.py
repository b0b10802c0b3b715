"""The spellings that files of models that see have for the names of tensors.

A spelling has a beginning for each part of a model, and is found by a tensor that every such part
has. What it knows of the language model is the same for all of these models.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

Patterns = Mapping[str, re.Pattern[str]]
"""An expression for each part of a spelling."""

TEXT_MARKS: Patterns = {
    "language": re.compile(r"((?:model\.|language_model\.)+)embed_tokens\.weight"),
    "head": re.compile(r"((?:language_model\.)?lm_head\.weight)"),
}
"""Whole names by which the spelling of a language model is found; a group is the beginning."""

TEXT_BEGINNINGS: Patterns = {
    "language": re.compile(r"(?:model\.|language_model\.)+(?=(?:embed_tokens|layers|norm)\.)"),
    "head": re.compile(r"(?:model\.|language_model\.)*lm_head\.weight$"),
}
"""The beginnings of a language model's names, in every spelling."""


def beginnings_of(stored: Iterable[str], marks: Patterns) -> dict[str, str]:
    """Find the beginnings that the parts of a stored model have, by part."""
    found = {}
    for name in sorted(stored, key=len, reverse=True):
        for part, pattern in marks.items():
            if (match := pattern.fullmatch(name)) is not None:
                found[part] = match[1]
    return found


def respelled(name: str, spelling: Any, beginnings: Patterns) -> str:
    """Return a name of any spelling in another one. What is no such name stays as it is.

    Args:
        name: The name of a tensor.
        spelling: The other spelling, which has the beginning of each part as an attribute.
        beginnings: The beginnings of each part in every spelling.
    """
    for part, pattern in beginnings.items():
        if (match := pattern.match(name)) is not None:
            own: str = getattr(spelling, part)
            return own + name[match.end() :]
    return name
