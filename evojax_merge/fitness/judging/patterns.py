"""Answers that a regular expression finds."""

import warnings
from collections.abc import Sequence
from typing import Any

import regex

from evojax_merge.documents.arguments import check_text
from evojax_merge.documents.errors import shown
from evojax_merge.fitness.judging.score import Case, Comparison, Score, Verdict

_SECONDS = 5.0
"""The longest that a pattern may look through one text."""


def regex_score(pattern: str | None, task: str) -> Score:
    """The score of regular expressions, in the syntax of Python's ``re``.

    Args:
        pattern: Without one, the right answer of an item is a pattern, and a text is right in which
            it is found. A pattern without groups has to be found in the text, whatever the item. Of
            one with groups, what the first of them finds last in the text has to equal the right
            answer.
        task: The name of the task in messages.

    Raises:
        ValueError: The pattern is not one.
    """
    if pattern is None:
        return Comparison(lambda text: text, _compiled, lambda one, text: float(_found(one, text)))
    try:
        compiled = _compiled(check_text(f"{task}: pattern", pattern, empty=False))
    except ValueError as error:
        raise ValueError(f"{task}: pattern: {error}") from None
    if not compiled.groups:
        return _Found(compiled)
    return Comparison(
        lambda text: _last(compiled, text),
        lambda known: str(known).strip(),
        lambda known, found: float(known == found),
    )


class _Found(Score):
    """Right where a pattern is found."""

    compares = False

    def __init__(self, pattern: regex.Pattern[str]) -> None:
        self._pattern = pattern

    def known(self, value: Any) -> Any:
        return None

    def verdicts(
        self, answers: Sequence[str], cases: Sequence[Case], foreign: Sequence[bool]
    ) -> list[Verdict]:
        texts = ["" if other else text for text, other in zip(answers, foreign, strict=True)]
        return [Verdict(float(_found(self._pattern, text))) for text in texts]


def _compiled(value: Any) -> regex.Pattern[str]:
    try:
        return regex.compile(str(value))
    except regex.error as error:
        raise ValueError(f"{shown(str(value))} is no regular expression: {error}") from None


def _found(pattern: regex.Pattern[str], text: str) -> bool:
    try:
        return pattern.search(text, timeout=_SECONDS) is not None
    except TimeoutError:
        return _too_slow(pattern)


def _last(pattern: regex.Pattern[str], text: str) -> str | None:
    try:
        found = [match[1] for match in pattern.finditer(text, timeout=_SECONDS)]
    except TimeoutError:
        _too_slow(pattern)
        return None
    return next((one.strip() for one in reversed(found) if one is not None), None)


def _too_slow(pattern: regex.Pattern[str]) -> bool:
    warnings.warn(
        f"the pattern {shown(pattern.pattern)} took more than {_SECONDS:g} seconds for an answer, "
        "which counts as one without a match; make the pattern simpler",
        RuntimeWarning,
        stacklevel=2,
    )
    return False
