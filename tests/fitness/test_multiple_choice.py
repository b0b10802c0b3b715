import numpy as np
import pytest

from evojax_merge.fitness import DataError, MultipleChoiceTask
from evojax_merge.models.request import Loglikelihood
from tests.fitness.conftest import language_model

ITEMS = [
    {"question": "a", "choices": ["bb", "cccc"], "answer": 0},
    {
        "question": "a long question, to be in another bucket",
        "choices": ["x", "yy", "z"],
        "answer": "yy",
    },
    {"question": "b", "choices": ["no", "yes"], "answer": "B"},
]


def outputs_of(bound, values):
    """Values [pop, rows] as the device gives them, found by the tokens of each row."""
    order = np.concatenate(bound._likelihood._rows)
    sizes = np.cumsum([len(batch.start) for batch in bound.batches])[:-1]
    return np.split(np.asarray(values, np.float32)[:, order], sizes, axis=1)


def test_rows_are_context_and_choice_with_the_choice_as_target(write, model):
    bound = MultipleChoiceTask(data=write(*ITEMS), prefix="P: ").bind(model)
    assert isinstance(bound.request, Loglikelihood)
    assert len(bound) == 3
    found = []
    for tokens, start, target in (row for batch in bound.batches for row in zip(*batch)):  # noqa: B905
        assert target.dtype == bool
        known = tokens[start:][~target[start:]]
        assert known[0] == model.tokenizer.bos_token_id
        found.append((model.tokenizer.decode(known[1:]), model.tokenizer.decode(tokens[target])))
    expected = [("P: " + one["question"], " " + text) for one in ITEMS for text in one["choices"]]
    assert sorted(found) == sorted(expected)


def test_the_likeliest_choice_is_compared_to_the_answer(write, model):
    bound = MultipleChoiceTask(data=write(*ITEMS)).bind(model)
    values = [[-1, -2, -3, -1, -2, -9, -1], [-2, -1, -3, -1, -0.5, -1, -9], [-1, -2] * 3 + [-1]]
    scores = bound.score(outputs_of(bound, values))
    assert scores.dtype == np.float32
    assert scores.tolist() == [[1, 1, 1], [0, 0, 0], [1, 0, 1]]


@pytest.mark.parametrize(
    ("normalize", "delimiter", "right"),
    [("none", " ", 1), ("characters", " ", 0), ("tokens", "", 0), ("tokens", " " * 20, 1)],
)
def test_normalization(write, model, normalize, delimiter, right):
    # Sums −3 and −4 over 2 and 4 characters; a delimiter of 20 tokens evens the lengths.
    task = MultipleChoiceTask(data=write(ITEMS[0]), normalize=normalize, delimiter=delimiter)
    bound = task.bind(model)
    assert bound.score(outputs_of(bound, [[-3, -4]])).tolist() == [[right]]


def test_non_finite_values_are_passed_on(write, model):
    bound = MultipleChoiceTask(data=write(*ITEMS)).bind(model)
    scores = bound.score(outputs_of(bound, [[np.nan, -2, -3, -1, -2, -np.inf, -1]]))
    assert np.isnan(scores[0, 0])
    assert scores[0, 1:].tolist() == [1, 1]


def test_details(write, model):
    bound = MultipleChoiceTask(data=write(*ITEMS)).bind(model)
    details = bound.details(outputs_of(bound, [[-1, -2, -1, -3, -2, -9, -1]]), candidate=0)
    assert [one["right"] for one in details] == [True, False, True]
    assert details[1] == {
        "item": 1,
        "prompt": ITEMS[1]["question"],
        "choices": ["x", "yy", "z"],
        "values": [-1.0, -3.0, -2.0],
        "answer": "x",
        "reference": "yy",
        "right": False,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": 2}, "neither an index from 0 to 1"),
        ({"answer": -1}, "neither an index"),
        ({"answer": True}, "neither an index"),
        ({"answer": "C"}, "neither an index"),
        ({"choices": ["only"]}, "two or more texts"),
        ({"choices": ["a", ""]}, "two or more texts"),
        ({"choices": "ab"}, "two or more texts"),
        ({"choices": ["a", 2]}, "two or more texts"),
        ({"choices": ["a", "b", "a"]}, "holds .a. twice"),
        ({"choices": ["a", "b"], "answer": True}, "is True, which is neither"),
        ({"choices": ["a", "b"], "answer": None}, "is None, which is neither"),
    ],
)
def test_bad_items_are_named(write, change, message):
    with pytest.raises(DataError, match=f"line 2: .*{message}"):
        MultipleChoiceTask(data=write(ITEMS[0], ITEMS[0] | change))


def test_other_mistakes(write):
    path = write(*ITEMS)
    with pytest.raises(ValueError, match=r"no normalization 'token'.*mean tokens"):
        MultipleChoiceTask(data=path, normalize="token")
    with pytest.raises(ValueError, match="line 2: question with choice needs"):
        MultipleChoiceTask(data=path).bind(language_model(context=32))
