"""What a score is: a function from answers and the items that they answer to numbers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from evojax_merge.fitness.base import ACCURACY, Measure
from evojax_merge.fitness.data import Record


class Known(NamedTuple):
    """An answer that is known to be right.

    Attributes:
        text: The answer as the data gives it.
        value: What a text is compared with.
        conditioned: Whether a text has to be in the wanted language to be compared with it.
    """

    text: str
    value: Any
    conditioned: bool


class Case(NamedTuple):
    """An item as the answers to it are judged.

    Attributes:
        record: The item.
        known: The answers that are known to be right, of which the best counts.
    """

    record: Record
    known: tuple[Known, ...]


class Verdict(NamedTuple):
    """What an answer is worth.

    Attributes:
        score: The number; larger is better.
        note: What else there is to say, e.g. what a judge replied.
    """

    score: float
    note: str = ""


class Score(ABC):
    """What answers are judged by.

    Attributes:
        measure: What the numbers are.
        compares: Whether an item must have a right answer.
        outside: Whether something judges that need not say the same twice, such as a server. Of
            several processes one asks it for all.
        plain: Whether a right answer is a text or a number.
    """

    measure: Measure = ACCURACY
    compares = True
    outside = False
    plain = True

    def several(self, given: Any) -> Sequence[Any]:
        """The right answers that the field of an item gives, one or a list of them."""
        return given if isinstance(given, list) else [given]

    @abstractmethod
    def known(self, value: Any) -> Any:
        """What texts are compared with, of a right answer.

        Raises:
            ValueError: It cannot be compared.
        """

    def check(self, record: Record) -> None:  # noqa: B027
        """Raise a `DataError` if an item lacks what the score needs besides right answers."""

    @abstractmethod
    def verdicts(
        self, answers: Sequence[str], cases: Sequence[Case], foreign: Sequence[bool]
    ) -> list[Verdict]:
        """Judge answers.

        Args:
            answers: The texts.
            cases: The item of each one.
            foreign: Whether each is in another language than the wanted one.
        """


class Comparison(Score):
    """A score that compares a value of the text with one of each known answer.

    Args:
        of_text: The value of a text.
        of_known: The value of a known answer.
        agree: How well two such values agree, the known one first, from 0 to 1.
        measure: What the numbers are.
    """

    def __init__(
        self,
        of_text: Callable[[str], Any],
        of_known: Callable[[Any], Any],
        agree: Callable[[Any, Any], float],
        measure: Measure = ACCURACY,
    ) -> None:
        self.of_text, self._of_known, self._agree = of_text, of_known, agree
        self.measure = measure

    def known(self, value: Any) -> Any:
        """What a text is compared with."""
        if not str(value).strip():
            raise ValueError("it is blank")
        return self._of_known(value)

    def verdicts(
        self, answers: Sequence[str], cases: Sequence[Case], foreign: Sequence[bool]
    ) -> list[Verdict]:
        """Compare each answer with those that are known."""
        return [
            Verdict(self._best(text, case.known, other))
            for text, case, other in zip(answers, cases, foreign, strict=True)
        ]

    def _best(self, text: str, known: Sequence[Known], foreign: bool) -> float:
        answer = self.of_text(text)
        empty = self.of_text("") if foreign else answer
        return max(self._agree(one.value, empty if one.conditioned else answer) for one in known)


class Equality(Comparison):
    """A comparison in which a text is right when its value equals a known one.

    Such values can be told apart by numbers, which is how a whole population is judged at once.

    Args:
        of_text: The value of a text, or None where it has none.
        of_known: The value of a known answer.
        blank: Whether a known answer may be blank.
    """

    def __init__(
        self,
        of_text: Callable[[str], Hashable | None],
        of_known: Callable[[Any], Hashable],
        blank: bool = False,
    ) -> None:
        super().__init__(of_text, of_known, _equal)
        self._blank = blank

    def known(self, value: Any) -> Any:
        """The value that is right."""
        return self._of_known(value) if self._blank else super().known(value)


def _equal(known: Hashable, answer: Hashable | None) -> float:
    return float(answer is not None and known == answer)
