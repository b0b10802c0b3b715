"""How well texts answer the questions of items, by one of the scores."""

from collections.abc import Sequence
from typing import Any

from evojax_merge import hosts
from evojax_merge.fitness.base import Measure
from evojax_merge.fitness.data import DataError, Record
from evojax_merge.fitness.judging.score import Case, Equality, Known, Score, Verdict
from evojax_merge.fitness.language import Language


class Judge:
    """The judge of answers.

    A text in another language than the wanted one counts as empty where the known answer is in the
    wanted language, as in the evaluation of Akiba et al., arXiv 2403.13187. Of several known
    answers the best counts.

    Args:
        score: What answers are judged by.
        language: The condition on the language, if any.
        always: Whether a text must be in the wanted language whatever the known answer is in, as
            where numbers are compared, which are in no language.

    Attributes:
        score: What answers are judged by.
        measure: What the results are.
        equality: The score, where answers that have the same value are worth the same whatever item
            they answer, and right where that is a known one; None elsewhere.
    """

    def __init__(self, score: Score, language: Language | None, always: bool) -> None:
        self.score = score
        self.measure: Measure = score.measure
        self._language, self._always = language, always
        alike = isinstance(score, Equality) and (language is None or always)
        self.equality: Equality | None = score if alike else None  # type: ignore[assignment]

    def known(self, value: Any) -> Known:
        """An answer of the data made ready.

        Raises:
            ValueError: It cannot be compared.
        """
        compared = self.score.known(value)
        text = str(value)
        conditioned = self._language is not None and (self._always or self._language(text))
        return Known(text, compared, conditioned)

    def case(self, record: Record, field: str) -> Case:
        """An item made ready.

        Args:
            record: The item.
            field: The field of its right answers.

        Raises:
            DataError: It lacks the field where the score needs it, there is no answer in it, or one
                cannot be compared.
        """
        if not self.score.compares and field not in record.fields:
            return Case(record, ())
        answers = self.score.several(record.field(field))
        if not answers and self.score.compares:
            raise DataError(
                f"{record.place}: field {field!r} is an empty list; give an answer, or leave the "
                "item out"
            )
        if self.score.compares and self.score.plain:
            for one in answers:
                record._replace(fields={field: one}).text(field)
        try:
            return Case(record, tuple(map(self.known, answers)))
        except ValueError as error:
            raise DataError(f"{record.place}: field {field!r}: {error}") from error

    def __call__(self, texts: Sequence[str], cases: Sequence[Case]) -> list[Verdict]:
        """How well each text answers its item."""
        foreign = [self.in_language(text) is False for text in texts]
        return self.score.verdicts(texts, cases, foreign)

    def agreed(self, texts: Sequence[str], cases: Sequence[Case]) -> list[float]:
        """The scores alone, which are the same in all processes of a run.

        Of something that need not say the same twice, one process asks for all.

        Raises:
            Interrupted: The one that asks may not go on.
        """
        if not self.score.outside or not hosts.active():
            return [verdict.score for verdict in self(texts, cases)]
        scores: list[float] = []
        stopped = None
        if hosts.is_first():
            try:
                scores = [verdict.score for verdict in self(texts, cases)]
            except hosts.Interrupted as interrupted:
                stopped = str(interrupted)
        scores, stopped = hosts.agree([scores, stopped])
        if stopped is not None:
            raise hosts.Interrupted(stopped)
        return scores

    def in_language(self, text: str) -> bool | None:
        """Whether a text is in the wanted language; None where any is."""
        return None if self._language is None else self._language(text)
