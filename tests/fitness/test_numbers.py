from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evojax_merge.fitness.numbers import EXTRACTORS, last_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("答えは5です。", "5"),
        ("5.0", "5"),
        ("The total is 1,234.", "1234"),
        ("1,234,567.5円", "1234567.5"),
        ("12345", "12345"),
        ("答えは１，２３４．５です", "1234.5"),
        ("答えは-5です", "-5"),
        ("答えは−5です", "-5"),
        ("答えは－５です", "-5"),
        ("x = –5", "-5"),
        ("it is -5", "-5"),
        ("-$5", "-5"),
        ("−￥1,500", "-1500"),
        ("(-5)", "-5"),
        ("3*-2", "-2"),
        ("10\n-5", "-5"),
        ("3-2", "2"),
        ("3 - 2", "2"),
        ("3 -2", "2"),
        ("(1+2)-3", "3"),
        ("（1+2）－３", "3"),
        ("COVID-19", "19"),
        ("50%-5", "5"),
        ("- 5 apples", "5"),
        ("1,2,3", "3"),
        ("1,2345", "2345"),
        (".5", "0.5"),
        ("1.5.2", "2"),
        ("合計は100m2です", "100"),
        ("合計は100㎡です。", "100"),
        ("合計は100cm³です。", "100"),
        ("10²", "10"),
        ("7 = 7.", "7"),
        ("+5", "5"),
        ("五", None),
        ("", None),
        ("---", None),
    ],
)
def test_last_number(text, number):
    assert last_number(text) == (None if number is None else Decimal(number))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3), st.sampled_from("です。 円\n"))
def test_a_written_number_is_read_back(number, after):
    assert last_number(f"答えは{number:,f}{after}") == number


@given(st.text())
def test_any_text_is_read(text):
    for extractor in EXTRACTORS.values():
        extractor.answer(text)


@pytest.mark.parametrize(
    ("mode", "text", "reference", "right"),
    [
        ("normalized", "答えは5.0です。", 5, True),
        ("normalized", "答えは1,234です。", "1234", True),
        ("normalized", "1234", "1,234", True),
        ("normalized", "72", "so she has 40 + 32 #### 72", True),
        ("normalized", "-5", 5, False),
        ("normalized", "0.30", 0.3, True),
        ("sakana", "答えは5です。", 5, True),
        ("sakana", "1,234", 234, True),
        ("sakana", "1,234", 1234, False),
        ("sakana", "-5", 5, True),
        ("sakana", "５", 5, True),
        ("lm_eval_strict", "thus 7\n#### 5 and #### 6", "9 #### 5", True),
        ("lm_eval_strict", "The answer is 5", "5", False),
        ("lm_eval_strict", "#### 1,234.", "1234", True),
        ("lm_eval_strict", "#### 5.0", 5, False),
        ("lm_eval_flexible", "first 4, then $1,234.", "#### 1234", True),
        ("lm_eval_flexible", "５", "5", False),
        ("lm_eval_flexible", "it is -5", "-5", True),
        ("mgsm_ja_strict", "答えは5です。答えは6です。", 5, True),
        ("mgsm_ja_strict", "答えは1.5です。", 15, True),
        ("mgsm_ja_strict", "答えは-5です。", 5, True),
        ("mgsm_ja_strict", "答えは5", 5, False),
        ("mgsm_ja_flexible", "5個", 5, True),
        ("exact", " tokyo\n", "tokyo", True),
        ("exact", "tokyo.", "tokyo", False),
    ],
)
def test_modes(mode, text, reference, right):
    extractor = EXTRACTORS[mode]
    assert (extractor.answer(text) == extractor.reference(reference)) is right


@pytest.mark.parametrize("mode", ["normalized", "sakana"])
@pytest.mark.parametrize("reference", [None, True, "none at all", [5], "inf", float("nan")])
def test_a_reference_without_a_number_is_refused(mode, reference):
    with pytest.raises(ValueError, match="number"):
        EXTRACTORS[mode].reference(reference)
