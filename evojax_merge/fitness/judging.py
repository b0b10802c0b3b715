"""How well a text answers a question of which one or several answers are known."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from evojax_merge.documents.arguments import check_option
from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.base import ACCURACY, FRACTION, Measure
from evojax_merge.fitness.language import Language
from evojax_merge.fitness.numbers import EXTRACTORS
from evojax_merge.fitness.rouge import rouge_l
from evojax_merge.fitness.words import WORDS, chosen_words

SCORES = ("rouge_l", "exact", "contains", "number")
"""What an answer can be judged by.

- ``rouge_l``: words in common in the same order, see `evojax_merge.fitness.rouge`.
- ``exact``: the whole text equals an answer, without surrounding white space.
- ``contains``: an answer stands in the text.
- ``number``: the number in the text equals an answer, see `evojax_merge.fitness.numbers`.
"""


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


class _Comparison(NamedTuple):
    """A function of a text, one of a known answer, and how well their values agree, 0 to 1."""

    of_text: Callable[[str], Any]
    of_known: Callable[[Any], Any]
    agree: Callable[[Any, Any], float]


class Judge:
    """The judge of answers.

    A text in another language than the wanted one counts as empty where the known answer is in the
    wanted language, as in the evaluation of Akiba et al., arXiv 2403.13187, and always where
    numbers are compared, which are in no language. Of several known answers the best counts.

    Args:
        score: What is compared, one of `SCORES`.
        extract: How numbers are found and compared, a key of `EXTRACTORS`.
        words: How texts are cut for ROUGE-L, see `evojax_merge.fitness.words.chosen_words`.
        language: The condition on the language, if any.
        task: The name of the task in messages.

    Attributes:
        measure: What the results are.

    Raises:
        ValueError: There is no such score, extractor or way of cutting.
    """

    def __init__(
        self, score: str, extract: str, words: str, language: Language | None, task: str
    ) -> None:
        check_option(f"{task}: score", score, SCORES)
        if not isinstance(extract, str) or extract not in EXTRACTORS:
            raise ValueError(
                f"{task}: no extract mode {extract!r}; the modes are "
                f"{', '.join(EXTRACTORS)}{nearest(extract, EXTRACTORS)}"
            )
        self.measure = ACCURACY
        self._language, self._always = language, score == "number"
        if score == "rouge_l":
            cut = chosen_words(words, task)
            unit = {"characters": " of characters", "english": " of English"}.get(cut, "")
            self.measure = Measure(f"ROUGE-L{unit}", FRACTION)
            segment = WORDS[cut]
            self._comparison = _Comparison(segment, lambda known: segment(str(known)), rouge_l)
        elif score == "contains":
            known = EXTRACTORS["exact"].reference
            self._comparison = _Comparison(lambda text: text, known, lambda a, b: float(a in b))
        else:
            extractor = EXTRACTORS["exact" if score == "exact" else extract]
            self._comparison = _Comparison(extractor.answer, extractor.reference, _equal)

    def known(self, value: Any) -> Known:
        """An answer of the data made ready.

        Raises:
            ValueError: It is blank, or has no number where numbers are compared.
        """
        text = str(value)
        if not text.strip():
            raise ValueError("it is blank")
        conditioned = self._language is not None and (self._always or self._language(text))
        return Known(text, self._comparison.of_known(value), conditioned)

    def __call__(self, text: str, known: Sequence[Known]) -> float:
        """How well a text agrees with the best of some known answers, 0 to 1."""
        answer = self._comparison.of_text(text)
        foreign = self.in_language(text) is False
        empty = self._comparison.of_text("") if foreign else answer
        return max(
            self._comparison.agree(one.value, empty if one.conditioned else answer) for one in known
        )

    def in_language(self, text: str) -> bool | None:
        """Whether a text is in the wanted language; None where any is."""
        return None if self._language is None else self._language(text)


def _equal(known: Hashable, answer: Hashable | None) -> float:
    return float(answer is not None and known == answer)
