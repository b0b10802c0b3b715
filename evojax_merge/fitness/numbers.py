"""The answer in a generated text, and when it equals the reference.

Each mode is a pair of functions to canonical values; an answer is right when both values are
equal. ``normalized`` is ours. The others repeat what published numbers were measured with,
their defects included, so that scores compare:

- ``sakana``: Akiba et al., arXiv 2403.13187, evaluation code. Commas and signs are lost, so
  1,234 reads as 234 and −5 as 5.
- ``lm_eval_strict``, ``lm_eval_flexible``: GSM8K of lm-evaluation-harness 0.4.12, filters
  ``strict-match`` and ``flexible-extract``. Answers are compared as strings: 5.0 is not 5.
- ``mgsm_ja_strict``, ``mgsm_ja_flexible``: ``mgsm_native_cot_ja`` of the same. Punctuation is
  ignored, so 1.5 equals 15 and −5 equals 5.
- ``exact``: the whole text, without surrounding white space.
"""

import re
import string
import unicodedata
from collections.abc import Callable, Hashable
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

_MINUS = "\N{MINUS SIGN}\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{FIGURE DASH}\N{EN DASH}"
_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉"
_UNIFIED = str.maketrans({**dict.fromkeys(_MINUS, "-"), **dict.fromkeys(_SUPERSCRIPTS, " ")})
_UNIT_EXPONENT = re.compile(r"(?<=m)[23](?![0-9]|[.,][0-9])")
_NUMBER = re.compile(
    r"""
    (?P<sign> -?) (?:[$¥€£][ ]?)?
    (?P<digits>
        [0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?  # 1,234 and 1,234.5
      | [0-9]+(?:\.[0-9]+)?                             # 12 and 12.5
      | (?<![0-9.])\.[0-9]+                             # .5
    )
    """,
    re.VERBOSE,
)
_GSM8K_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_MGSM_JA_STRICT = re.compile(r"答えは(\-?[0-9\.\,]+)です。")
_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
_GSM8K_IGNORED = tuple(map(re.compile, (",", r"\$", r"(?s).*#### ", r"\.$")))
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SAKANA = re.compile(r"\d*\.?\d+")


class Extractor(NamedTuple):
    """How an answer is found and compared.

    Attributes:
        answer: A function from a generated text to a canonical answer, or to None without one.
        reference: A function from the value of the reference field to a canonical answer, which
            raises ValueError when there is none.
    """

    answer: Callable[[str], Hashable | None]
    reference: Callable[[Any], Hashable]


def last_number(text: str) -> Decimal | None:
    """The last number of a text, or None when there is none.

    Unicode forms are unified first (NFKC: full-width digits, signs, commas, points). A comma that
    groups three digits belongs to the number. A minus (hyphen-minus, U+2212, hyphen, en dash)
    right before the digits or their currency sign is the number's, unless what precedes makes it
    an operator or a hyphen: a digit, % or closing bracket, spaces allowed (``3-2``, ``(1+2) -3``),
    or a Latin letter without a space (``x-2``). Superscripts and the 2 of ``m2`` or ㎡ are no
    numbers. Fractions (1/2 ends in 2), powers of ten and kanji numerals (3万 is 3) are not read.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_UNIFIED))
    text = _UNIT_EXPONENT.sub(" ", text)
    match = None
    for match in _NUMBER.finditer(text):  # noqa: B007
        pass
    if match is None:
        return None
    value = Decimal(match["digits"].replace(",", ""))
    if match["sign"] and not _is_operator(text[: match.start()]):
        return value.copy_negate()  # Exact, where -value would round to 28 digits.
    return value


def _is_operator(before: str) -> bool:
    if re.search(r"[A-Za-z]$", before):
        return True
    return before.rstrip(" \t")[-1:] in {*string.digits, *"%)]}」』】〕"}


def _reference_number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not a number or a text with one")
    try:
        number = Decimal(unicodedata.normalize("NFKC", str(value)).replace(",", ""))
    except InvalidOperation:
        found = last_number(str(value))
        if found is None:
            raise ValueError(f"no number in {value!r}") from None
        return found
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    return number


def _sakana(text: str) -> float | None:
    found = _SAKANA.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def _sakana_reference(value: Any) -> float:
    return float(_reference_number(value))


def _harness(
    pattern: re.Pattern[str], index: int, canonical: Callable[[str], str]
) -> Callable[[str], str | None]:
    def answer(text: str) -> str | None:
        found = list(pattern.finditer(text))
        if not found:
            return None
        return canonical(next(filter(None, found[index].groups())).strip())

    return answer


def _gsm8k(text: str) -> str:
    for pattern in _GSM8K_IGNORED:
        text = pattern.sub("", text)
    return text.lower()


def _mgsm(text: str) -> str:
    return text.lower().translate(_PUNCTUATION)


def _exact(text: str) -> str:
    return text.strip()


EXTRACTORS: dict[str, Extractor] = {
    "normalized": Extractor(last_number, _reference_number),
    "sakana": Extractor(_sakana, _sakana_reference),
    "lm_eval_strict": Extractor(
        _harness(_GSM8K_STRICT, 0, _gsm8k), lambda value: _gsm8k(str(value))
    ),
    "lm_eval_flexible": Extractor(
        _harness(_FLEXIBLE, -1, _gsm8k), lambda value: _gsm8k(str(value))
    ),
    "mgsm_ja_strict": Extractor(
        _harness(_MGSM_JA_STRICT, 0, _mgsm), lambda value: _mgsm(str(value))
    ),
    "mgsm_ja_flexible": Extractor(_harness(_FLEXIBLE, -1, _mgsm), lambda value: _mgsm(str(value))),
    "exact": Extractor(_exact, lambda value: _exact(str(value))),
}
"""How each mode finds and compares answers."""
