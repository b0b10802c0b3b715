"""F1 of the words that an answer has in common with the right one, in whatever order.

Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", arXiv 1606.05250,
and the script of SQuAD 2.0 (``evaluate-v2.0.py``), whose words are those of `squad_words`.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from evojax_merge.documents.arguments import check_option
from evojax_merge.fitness.base import FRACTION, Measure
from evojax_merge.fitness.judging.score import Comparison
from evojax_merge.fitness.words import WORDS, chosen_words

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(a|an|the)\b")
_UNSPACED = re.compile("[\u0e00-\u0e7f\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
"""Thai, kana and Chinese characters, which are written without spaces between words."""


def squad_words(text: str) -> list[str]:
    """The words of a text in small letters, without punctuation (ASCII) and English articles."""
    return _ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def f1(reference: Sequence[str], candidate: Sequence[str]) -> float:
    """The harmonic mean of precision and recall of words, between 0 and 1.

    With S the size of the intersection of both as multisets, precision is S / |candidate|, recall
    is S / |reference|, and F1 is 2 S / (|reference| + |candidate|). Where one of them has no words
    it is 1 if the other has none either, and else 0.
    """
    if not reference or not candidate:
        return float(not reference and not candidate)
    same = sum((Counter(reference) & Counter(candidate)).values())
    return 2 * same / (len(reference) + len(candidate))


def f1_score(words: str, task: str) -> Comparison:
    """The score F1.

    Args:
        words: How texts are cut: ``english`` as SQuAD does, ``japanese`` or ``characters`` as
            `evojax_merge.fitness.words` has them. ``auto`` is ``english``, which refuses right
            answers without spaces between words.
        task: The name of the task in messages.

    Raises:
        ValueError: There is no such way, or its packages are not installed.
    """
    check_option(f"{task}: words", words, ("auto", *WORDS))
    segment: Callable[[str], list[str]] = squad_words
    name = "F1 of words"
    if words in ("japanese", "characters"):
        segment = WORDS[chosen_words(words, task)]
        name = "F1 of characters" if words == "characters" else "F1 of Japanese words"

    def of_known(value: Any) -> list[str]:
        if words == "auto" and _UNSPACED.search(str(value)):
            raise ValueError(
                "it has no spaces between words, by which f1 would count; set "
                "fitness.words=japanese or fitness.words=characters"
            )
        return segment(str(value))

    return Comparison(segment, of_known, f1, Measure(name, FRACTION))
