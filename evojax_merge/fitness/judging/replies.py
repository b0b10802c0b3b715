"""How the score is read from what a judge replies."""

import re

import regex

from evojax_merge.documents.arguments import check_number, check_option, check_text
from evojax_merge.documents.errors import shown

READINGS = ("number", "yes_no", "pattern")

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?!\w)(?!\.\d)")
_YES, _NO = ("yes", "はい"), ("no", "いいえ")
_FIRST = re.compile(r"[^\W\d_]+")
_SECONDS = 5.0


class UnreadableReplyError(ValueError):
    """A reply holds no score."""


class Reading:
    """What turns a reply into a score from 0 to 1.

    Args:
        reads: ``number``: the reply holds one number from ``least`` to ``most``; ``8/10`` is 8
            where ``most`` is 10. ``yes_no``: its first word is yes or no. ``pattern``: the first
            group of ``pattern`` is such a number, where the pattern is found last.
        least: The number that is worth 0.
        most: The number that is worth 1.
        pattern: The regular expression.
        where: The key of the judge in messages.

    Raises:
        ValueError: There is no such reading, the range is empty, or the pattern is none.
    """

    def __init__(
        self, reads: str, least: float, most: float, pattern: str | None, where: str
    ) -> None:
        check_option(f"{where}.reads", reads, READINGS)
        check_number(f"{where}.least", least)
        check_number(f"{where}.most", most)
        if not least < most:
            raise ValueError(
                f"{where}.least is {least:g}, and most is {most:g}; least must be less"
            )
        if (reads == "pattern") != (pattern is not None):
            raise ValueError(
                f"{where}.reads is {reads} and pattern {shown(pattern)}; a pattern is given with "
                "reads=pattern, and only then"
            )
        self._reads, self._least, self._most = reads, float(least), float(most)
        self._pattern = None
        if pattern is not None:
            try:
                self._pattern = regex.compile(check_text(f"{where}.pattern", pattern))
            except regex.error as error:
                raise ValueError(f"{where}.pattern is no regular expression: {error}") from None
            if not self._pattern.groups:
                raise ValueError(f"{where}.pattern has no group, which would hold the number")

    def __call__(self, reply: str) -> float:
        """The score of a reply.

        Raises:
            UnreadableReplyError: It holds none.
        """
        if self._reads == "yes_no":
            return self._yes_no(reply)
        if self._pattern is None:
            share = rf"(?<=\d)\s*(?:/|out of)\s*{self._most:g}(?![\d.]*\d)"
            numbers = _NUMBER.findall(re.sub(share, "", reply))
        else:
            numbers = [one or "" for one in self._groups(reply)[-1:]]
        if len(numbers) != 1:
            raise UnreadableReplyError(f"it holds {len(numbers)} numbers and not one")
        try:
            number = float(numbers[0])
        except ValueError:
            raise UnreadableReplyError(f"{shown(numbers[0])} is no number") from None
        if not self._least <= number <= self._most:
            raise UnreadableReplyError(f"{number:g} is not from {self._least:g} to {self._most:g}")
        return (number - self._least) / (self._most - self._least)

    def _yes_no(self, reply: str) -> float:
        first = _FIRST.search(reply)
        word = "" if first is None else first[0].lower()
        if word not in (*_YES, *_NO):
            raise UnreadableReplyError("its first word is neither yes nor no")
        return float(word in _YES)

    def _groups(self, reply: str) -> list[str | None]:
        assert self._pattern is not None
        try:
            return [match[1] for match in self._pattern.finditer(reply, timeout=_SECONDS)]
        except TimeoutError:
            raise UnreadableReplyError("the pattern takes too long for it") from None
