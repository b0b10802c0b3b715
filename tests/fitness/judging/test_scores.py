"""Answers are judged by the best of those that are known, by values counted by hand."""

import numpy as np
import pytest

from evojax_merge.fitness import DataError, GenerationTask
from evojax_merge.fitness.judging import SCORES, JudgedTask
from evojax_merge.fitness.judging.f1 import f1, squad_words
from evojax_merge.fitness.visual_question import VisualQuestionTask
from tests.fitness.conftest import written
from tests.fitness.judging.judged import judged, scores

JAPANESE, ENGLISH = "赤い犬です", "a red dog"


@pytest.fixture
def value(write):
    """What a text is worth by a score."""

    def value(score, text, answer, **options):
        path = write({"question": "?", "answer": answer})
        task = GenerationTask(data=path, score=score, **{"words": "characters", **options})
        return judged(task, text).score

    return value


@pytest.mark.parametrize(
    ("score", "text", "answer", "expected"),
    [
        ("rouge_l", "赤い犬", JAPANESE, 2 * 3 / 8),
        ("rouge_l", "犬赤い", [JAPANESE], 2 * 2 / 8),
        ("rouge_l", "赤い犬", ["青い", "犬"], 2 * 1 / 4),
        ("rouge_l", "", JAPANESE, 0),
        ("exact", " a red dog\n", [ENGLISH, "dog"], 1),
        ("exact", "a red", [ENGLISH, "dog"], 0),
        ("contains", "It is a red dog.", ["cat", " a red dog "], 1),
        ("contains", "It is red.", ENGLISH, 0),
        ("number", "1 and then 1,234", [5, "1234"], 1),
        ("number", "none", 5, 0),
        ("regex", "It is RED.", "(?i)red", 1),
        ("regex", "It is read.", [r"\bred\b", "^$"], 0),
        ("f1", "犬赤い", JAPANESE, 2 * 3 / 8),
        ("set", "- red\n- green", "green, red", 1),
        ("set", '```json\n["green", "red"]\n```', ["red", "green"], 1),
        ("set", "1. red\n2) blue", ["red", "green"], 0),
        ("set", "blue、red", [["red"], ["red", "blue"]], 1),
        ("set", "red, red", ["red"], 1),
        ("set", "1.5, 2", [2, 1.5], 1),
        ("set", "", ["red"], 0),
        ("json", '{"a": 1}', {"a": 1.0}, 1),
        ("json", "The answer is 5.", 5, 0),
        ("json", " 5 ", "5", 1),
        ("json", "true", 1, 0),
        ("json", "[1, 2]", [[1, 2], [3]], 1),
        ("json", "[1, 2]", [1, 2], 0),
        ("json", "[" * 100_000, 1, 0),
        ("json", "NaN", 1, 0),
    ],
)
def test_values(value, score, text, answer, expected):
    assert value(score, text, answer) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ('First {"name": "cat"}, no: {"name": "dog"} {', "name", 1),
        ('{"name": "cat"}\n```json\n{"name": "dog"}\n```\nThat was {"name": "cow"}.', "name", 1),
        ('```\n{"animals": [{"name": "cat"}, {"name": "dog"}]}\n```', "animals.1.name", 1),
        ('{"animals": [{"name": "dog"}]}', "animals.1.name", 0),
        ('{"animals": [{"name": "dog"}]}', "animals.name", 0),
        ('{"name": ["dog"]}', "name", 0),
        ('{"name": "dog', "name", 0),
    ],
)
def test_places_in_json(value, text, path, expected):
    assert value(None, text, "dog", json_path=path) == expected


@pytest.mark.parametrize(
    ("text", "pattern", "answer", "expected"),
    [
        ("A: 1 or A: 12", r"A: (\d+)", [3, 12], 1),
        ("A: 12 or A: 1", r"A: (\d+)", 12, 0),
        ("none", r"A: (\d+)", 12, 0),
        ("It rains.", r"^\w+ \w+\.$", "unused", 1),
        ("It rains", r"^\w+ \w+\.$", "unused", 0),
    ],
)
def test_a_pattern_of_the_task(value, text, pattern, answer, expected):
    assert value(None, text, answer, pattern=pattern) == expected


def test_a_pattern_of_the_task_without_groups_needs_no_right_answers(write):
    task = GenerationTask(data=write({"question": "?"}), pattern="yes")
    assert judged(task, "yes!").score == 1


def test_a_pattern_that_takes_for_ever_is_a_warning(value, monkeypatch):
    monkeypatch.setattr("evojax_merge.fitness.judging.patterns._SECONDS", 0.05)
    with pytest.warns(RuntimeWarning, match="took more than 0.05 seconds"):
        assert value("regex", "a" * 40 + "b", "(a|a|aa)+$") == 0


# What evaluate-v2.0.py of SQuAD gives for these.
@pytest.mark.parametrize(
    ("gold", "given", "expected"),
    [
        ("the Denver Broncos", "Denver Broncos!", 1.0),
        ("Denver Broncos", "The Broncos of Denver, Colorado", 2 * 0.5 * 1 / 1.5),
        ("in the 1990s", "1990s", 2 * 1 * 0.5 / 1.5),
        ("don't", "dont", 1.0),
        ("a b a b", "b b b", 2 * (2 / 3) * (2 / 2) / (2 / 3 + 1)),
        ("the", "an", 1.0),
        ("the", "cat", 0.0),
        ("cat", "", 0.0),
    ],
)
def test_f1_of_squad(value, gold, given, expected):
    assert f1(squad_words(gold), squad_words(given)) == pytest.approx(expected)
    assert value("f1", given, [gold], words="auto") == pytest.approx(expected)


def test_words_of_english(value):
    assert value("rouge_l", "The red dog!", ENGLISH, words="english") == pytest.approx(2 * 2 / 6)


@pytest.mark.parametrize("score", ["rouge_l", "contains"])
def test_the_language_of_answers_about_pictures_counts_where_the_right_one_is_in_it(score, write):
    class Task(JudgedTask):
        always_in_language = VisualQuestionTask.always_in_language

    def of(text, *answers):
        item = {"question": "?", "answer": list(answers)}
        task = Task(data=write(item), score=score, words="characters", language="ja")
        return judged(task, text).score

    assert of(f"a red dog {JAPANESE} is what it is", JAPANESE) == 0
    assert of(JAPANESE, JAPANESE) == 1
    assert of(ENGLISH, ENGLISH) == 1
    assert of(ENGLISH, JAPANESE, ENGLISH) == 1


@pytest.mark.parametrize("score", ["rouge_l", "contains", "exact", "f1"])
def test_the_language_of_generated_text_always_counts(score, value):
    assert value(score, ENGLISH, ENGLISH, language="ja") == 0
    assert value(score, JAPANESE, JAPANESE, language="ja") == 1


def test_the_language_counts_for_patterns(value):
    assert value(None, "yes, 5", "x", pattern="5", language="ja") == 0
    assert value(None, "はい、5です", "x", pattern="5", language="ja") == 1


def test_one_of_several_numbers_is_right(write, model):
    items = [{"question": "1", "answer": [1, "2"]}, {"question": "2", "answer": 3}]
    bound = GenerationTask(data=write(*items), max_new_tokens=8).bind(model)
    assert scores(bound, ["2", "3"], ["1", "1"], ["3", "2"]) == [[1, 1], [1, 0], [0, 0]]
    assert bound.details(written(bound, [["2", "x"]]))[0]["reference"] == ["1", "2"]


def test_graded_results_of_a_population_and_their_records(write, model):
    items = [{"question": "1", "answer": ENGLISH}, {"question": "2" * 60, "answer": ["x", "y"]}]
    bound = GenerationTask(data=write(*items), score="f1", max_new_tokens=12).bind(model)
    assert scores(bound, ["red", "y"], ["a dog red", "x y"]) == [
        [pytest.approx(2 / 3), 1],
        [1, pytest.approx(2 / 3)],
    ]
    first, second = bound.details(written(bound, [["red", "y"]]))
    assert first["score"] == pytest.approx(2 / 3)
    assert second["references"] == ["x", "y"]
    part = bound.take(np.array([1]))
    assert scores(part, ["y"]) == [[1]]


@pytest.mark.parametrize(
    ("answer", "options", "message"),
    [
        (" ", {"score": "rouge_l"}, "line 1: field 'answer': it is blank"),
        ("none", {}, "line 1: field 'answer': no number in 'none'"),
        ([], {}, "field 'answer' is an empty list; give an answer, or leave the item out"),
        ({"a": 1}, {"score": "exact"}, "field 'answer' is an object; give a text or a number"),
        ("赤い犬", {"score": "f1"}, "no spaces between words.*fitness.words=japanese"),
        ("a(", {"score": "regex"}, r"'a\(' is no regular expression: missing \)"),
        (",", {"score": "set"}, "it is an empty set"),
    ],
)
def test_answers_that_cannot_be_compared(answer, options, message, write):
    with pytest.raises(DataError, match=message):
        GenerationTask(data=write({"question": "?", "answer": answer}), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "bleu"}, f"score is 'bleu'; use one of {', '.join(SCORES)}"),
        ({"score": "exact", "pattern": "x"}, "pattern is for score=regex, and the score is exact"),
        ({"score": "f1", "run_code": True}, "run_code is for score=code, and the score is f1"),
        ({"pattern": "("}, r"generation: pattern: '\(' is no regular expression"),
        ({"score": "function"}, "score=function needs fitness.function=file.py:name"),
        ({"score": "judge"}, "score=judge needs fitness/judge=chat"),
        ({"score": "f1", "words": "x"}, "words is 'x'; use one of auto, japanese"),
    ],
)
def test_settings_that_make_no_sense(options, message, write):
    with pytest.raises(ValueError, match=message):
        GenerationTask(data=write({"question": "?", "answer": 1}), **options)
