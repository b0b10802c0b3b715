"""Answers are judged by the best of those that are known, by hand-computed values."""

import pytest

from evojax_merge.fitness.judging import Judge
from evojax_merge.fitness.language import ScriptRule

JAPANESE, ENGLISH = "赤い犬です", "a red dog"


def judge(score, language=None, words="characters", extract="normalized"):
    condition = None if language is None else ScriptRule(language)
    return Judge(score, extract, words, condition, "task")


def value(judged, text, *answers):
    return judged(text, [judged.known(one) for one in answers])


@pytest.mark.parametrize(
    ("score", "text", "answers", "expected"),
    [
        ("rouge_l", "赤い犬", [JAPANESE], 2 * 3 / 8),
        ("rouge_l", "犬赤い", [JAPANESE], 2 * 2 / 8),
        ("rouge_l", "赤い犬", ["青い", "犬"], 2 * 1 / 4),
        ("rouge_l", "", [JAPANESE], 0),
        ("exact", " a red dog\n", [ENGLISH, "dog"], 1),
        ("exact", "a red", [ENGLISH, "dog"], 0),
        ("contains", "It is a red dog.", ["cat", " a red dog "], 1),
        ("contains", "It is red.", [ENGLISH], 0),
        ("number", "1 and then 1,234", [5, "1234"], 1),
        ("number", "none", [5], 0),
    ],
)
def test_values(score, text, answers, expected):
    assert value(judge(score), text, *answers) == pytest.approx(expected)


def test_words_of_english():
    judged = judge("rouge_l", words="english")
    assert judged.measure.name == "ROUGE-L of English"
    assert value(judged, "The red dog!", ENGLISH) == pytest.approx(2 * 2 / 6)


@pytest.mark.parametrize("score", ["rouge_l", "contains"])
def test_the_language_counts_where_the_answer_is_in_it(score):
    judged = judge(score, "ja")
    assert value(judged, f"a red dog {JAPANESE} is what it is", JAPANESE) == 0
    assert value(judged, JAPANESE, JAPANESE) == 1
    assert value(judged, ENGLISH, ENGLISH) == 1
    assert value(judged, ENGLISH, JAPANESE, ENGLISH) == 1
    assert judged.in_language(ENGLISH) is False


def test_numbers_are_in_no_language_so_that_the_condition_always_counts():
    judged = judge("number", "ja")
    assert value(judged, "答えは5です", 5) == 1
    assert value(judged, "The answer is 5", 5) == 0


@pytest.mark.parametrize(
    ("answer", "score", "message"),
    [(" ", "rouge_l", "it is blank"), ("none", "number", "no number in 'none'")],
)
def test_answers_that_cannot_be_compared(answer, score, message):
    with pytest.raises(ValueError, match=message):
        judge(score).known(answer)
