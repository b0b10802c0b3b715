"""Texts cut into words, as measures of common words compare them.

Japanese is written without spaces, so that what a word is depends on a dictionary. Scores of
different ways of cutting do not compare.
"""

import functools
import importlib
import importlib.util
import re
import unicodedata
import warnings
from collections.abc import Callable
from typing import Any

from evojax_merge.documents.arguments import check_option

Segment = Callable[[str], list[str]]
"""A function from a text to its words."""

INSTALL = "pip install 'evojax-merge[japanese]'"
_MODULES = ("emoji", "fugashi", "neologdn")
_EMOJI = re.compile(
    "[\U0001f600-\U0001f64f\U0001f300-\U0001f5ff\U0001f680-\U0001f6ff\U0001f1e0-\U0001f1ff"
    "\u2702-\u27b0]+"
)
_NOT_ENGLISH = re.compile("[^a-z0-9]+")


def japanese_words(text: str) -> list[str]:
    """The words of a Japanese text by MeCab, as in the evaluation of Akiba et al.

    Emoji are removed, the text is normalized by neologdn, white space is collapsed, and what
    fugashi's ``Tagger("-Owakati")`` makes of it is split at white space (arXiv 2403.13187, code of
    the evaluation, ``evomerge/eval/metrics.py``).

    Raises:
        ValueError: The packages of the ``japanese`` extra are not installed.
    """
    emoji, neologdn, tagger = _japanese_tools()
    text = _EMOJI.sub("", "".join(one for one in text if not emoji.is_emoji(one)))
    text = " ".join(neologdn.normalize(text).split())
    words: list[str] = tagger.parse(text).split()
    return words


def english_words(text: str) -> list[str]:
    """The runs of a to z and 0 to 9 in a text in small letters, as ``rouge_score`` has them."""
    return _NOT_ENGLISH.sub(" ", text.lower()).split()


def characters(text: str) -> list[str]:
    """The characters of a text after NFKC, without white space."""
    return [one for one in unicodedata.normalize("NFKC", text) if not one.isspace()]


WORDS: dict[str, Segment] = {
    "japanese": japanese_words,
    "english": english_words,
    "characters": characters,
}
"""How each way cuts a text."""


def chosen_words(name: str, task: str) -> str:
    """The way of cutting that a setting stands for, a key of `WORDS`.

    Args:
        name: A key of `WORDS`; or ``auto``, which is ``japanese`` where the packages that it needs
            are installed, and else ``characters``, with a warning.
        task: The name of the task in messages.

    Raises:
        ValueError: There is no such way, or its packages are not installed.
    """
    check_option(f"{task}: words", name, ("auto", *WORDS))
    if name == "japanese":
        _japanese_tools()
    if name != "auto":
        return name
    missing = [module for module in _MODULES if importlib.util.find_spec(module) is None]
    if not missing:
        return "japanese"
    warnings.warn(
        f"{task}: {', '.join(missing)} not installed, so that rouge_l compares characters, not "
        f"words, and does not compare with published scores; {INSTALL}, or set "
        "fitness.words=characters",
        RuntimeWarning,
        stacklevel=3,
    )
    return "characters"


@functools.cache
def _japanese_tools() -> tuple[Any, Any, Any]:
    """The modules emoji and neologdn, and a tagger, which is a dictionary in memory."""
    try:
        emoji, fugashi, neologdn = map(importlib.import_module, _MODULES)
        return emoji, neologdn, fugashi.Tagger("-Owakati")
    except (ImportError, RuntimeError) as error:  # the second where there is no dictionary
        raise ValueError(
            f"words of Japanese need {', '.join(_MODULES)} and a dictionary of MeCab ({error}); "
            f"{INSTALL}, or set fitness.words=characters"
        ) from error
