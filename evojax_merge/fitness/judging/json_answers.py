"""Answers that stand in JSON within a text."""

import json
import re
from collections.abc import Iterator
from typing import Any

from evojax_merge.documents.arguments import check_text
from evojax_merge.fitness.judging.fences import fenced_blocks
from evojax_merge.fitness.judging.score import Comparison

_MISSING = object()
_OPENING = re.compile(r"[{\[]")
_FAILED = 1_000
"""How many brackets of a text may open nothing; with more, it would take long to find out."""


class JsonScore(Comparison):
    """Right where a part of the JSON in a text equals the right answer.

    The JSON is the whole text, or else the last object or list of its last fenced block that has
    one, or else of the text. Numbers are equal by value (5 and 5.0). A text equals a number that it
    spells, since data often hold numbers as texts. Objects are equal whatever the order of keys.

    Args:
        path: Where the answer is: keys and places of lists with dots between them, as
            ``result.0.name``; None where it is the whole.
        task: The name of the task in messages.

    Raises:
        ValueError: The path is no text, or empty.
    """

    plain = False

    def __init__(self, path: str | None, task: str) -> None:
        if path is not None:
            check_text(f"{task}: json_path", path, empty=False)
        steps = [] if path is None else path.split(".")
        super().__init__(lambda text: _at(json_in(text), steps), lambda value: value, _alike)

    def known(self, value: Any) -> Any:
        """The value that is right, which may be anything that JSON has."""
        return value


def json_in(text: str) -> Any:
    """The value of the JSON in a text, or something that equals nothing where there is none."""
    for part in (text, *reversed(fenced_blocks(text))):
        whole = _read(part)
        if whole is not _MISSING:
            return whole
        found = list(_values(part)) if part is not text else []
        if found:
            return found[-1]
    found = list(_values(text))
    return found[-1] if found else _MISSING


def _values(text: str) -> Iterator[Any]:
    """The outermost objects and lists in a text, in order."""
    place = failed = 0
    while failed < _FAILED and (opening := _OPENING.search(text, place)) is not None:
        place = opening.start()
        try:
            value, place = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            place, failed = place + 1, failed + 1
        else:
            yield value


def _read(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return _MISSING


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def _at(value: Any, steps: list[str]) -> Any:
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step, _MISSING)
        elif isinstance(value, list) and step.isascii() and step.isdigit():
            value = value[int(step)] if int(step) < len(value) else _MISSING
        else:
            return _MISSING
    return value


def _alike(known: Any, answer: Any) -> float:
    return float(answer is not _MISSING and _equal(known, answer))


def _equal(known: Any, answer: Any) -> bool:
    if isinstance(known, dict) and isinstance(answer, dict):
        return known.keys() == answer.keys() and all(_equal(known[k], answer[k]) for k in known)
    if isinstance(known, list) and isinstance(answer, list):
        return len(known) == len(answer) and all(map(_equal, known, answer))
    if isinstance(known, bool) or isinstance(answer, bool) or known is None or answer is None:
        return known is answer
    if isinstance(known, str) != isinstance(answer, str):
        return str(known).strip() == str(answer).strip()
    if isinstance(known, str):
        return bool(known.strip() == answer.strip())
    return bool(known == answer)
