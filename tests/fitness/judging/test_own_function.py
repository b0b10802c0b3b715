"""Answers are worth what a function of the user's own says."""

import pytest

from evojax_merge.fitness import GenerationTask
from tests.fitness.judging.judged import judged, scores

SOURCE = """
import numpy as np

def length(answer: str, item: dict) -> float:
    item["answer"] += 1
    return len(answer) / item["answer"]

def right(answer, item):
    return answer == "5"

def fails(answer, item):
    raise KeyError("nothing")

def nothing(answer, item):
    return None

def infinite(answer, item):
    return np.inf

def ranks(answers, items):
    return np.arange(len(answers)) + items[0]["answer"]

def few(answers, items):
    return [1.0]
"""


@pytest.fixture
def task(write, tmp_path):
    file = tmp_path / "own_score.py"
    file.write_text(SOURCE)

    def task(name, *items, **options):
        items = items or ({"question": "?", "answer": 4},)
        return GenerationTask(
            data=write(*items), function=f"{file}:{name}", max_new_tokens=8, **options
        )

    return task


def test_numbers_and_truth_are_results(task, model):
    made = task("length")
    assert (made.measure.name, made.measure.unit) == ("length", "points")
    bound = made.bind(model)
    assert scores(bound, ["abcde"], ["abcdefgh"]) == [[1], [pytest.approx(1.6)]]
    assert scores(bound, ["abcde"]) == [[1]]  # an item is a copy each time
    assert scores(task("right").bind(model), ["5"], ["6"]) == [[1], [0]]


def test_an_answer_in_another_language_is_given_as_an_empty_one(task):
    assert judged(task("length", language="ja"), "abcde").score == 0


def test_items_need_no_right_answer(task):
    assert judged(task("right", {"question": "?"}), "5").score == 1


def test_all_answers_at_once(task, model):
    items = [{"question": "1", "answer": 2}, {"question": "2", "answer": 3}]
    bound = task("ranks", *items, function_of="answers").bind(model)
    assert scores(bound, ["a", "b"], ["a", "c"]) == [[2, 3], [2, 4]]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "fails",
            {},
            r"own_score.py:fails, for the answer 'abc' to .*items.jsonl, line 1: "
            r"KeyError: 'nothing' \(own_score.py, line 12, in fails\)",
        ),
        ("nothing", {}, "gives None for the answer 'abc' to .*; it must give a finite number"),
        ("infinite", {}, "gives inf for the answer"),
        ("few", {"function_of": "answers"}, "gives 1 numbers for 2 answers"),
        ("length", {"function_of": "answers"}, "own_score.py:length, for 2 answers: TypeError"),
    ],
)
def test_functions_that_go_wrong(task, name, options, message):
    made = task(name, **options)
    case = made.case_of(made.records[0])
    with pytest.raises(ValueError, match=message):
        made.judging(["abc", "de"], [case, case])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("missing", {}, "generation: function: .*own_score.py has no missing"),
        ("right", {"function_of": "text"}, "function_of is 'text'; use one of answer, answers"),
        ("right", {"score": "exact"}, "function is for score=function, and the score is exact"),
    ],
)
def test_functions_that_are_not_there(task, name, options, message):
    with pytest.raises(ValueError, match=message):
        task(name, **options)
