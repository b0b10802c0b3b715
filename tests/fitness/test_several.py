"""Some items of a task, and several tasks at once: the same results as whole and alone."""

import zlib

import numpy as np
import pytest

from evojax_merge.fitness import (
    GenerationTask,
    MultipleChoiceTask,
    PerplexityTask,
    SeveralTasks,
    SizeTask,
    digits_task,
)
from evojax_merge.fitness.several import parts_of, tasks_of

QUESTIONS = [
    {"question": "?" * (3 + 7 * number), "answer": number % 4, "text": "x" * (1 + number)}
    for number in range(9)
]
CHOICES = [
    {"question": f"{number}?", "choices": list("abcd")[: 2 + number % 3], "answer": number % 2}
    for number in range(9)
]


def seen(row):
    """A number that depends on a row's tokens and nothing else."""
    return zlib.crc32(np.ascontiguousarray(row).tobytes())


def program(bound):
    """What a device could give for each batch, whatever the padding, for two candidates."""
    outputs = []
    for task in tasks_of(bound):
        for batch in task.batches:
            rows = [tokens[start:] for tokens, start in zip(batch.tokens, batch.start, strict=True)]
            if task.kind == "loglikelihood":
                first = np.array([seen(row) % 90 for row in rows], np.float32)
                outputs.append(-np.stack([first, first[::1] * 2]))
            else:  # writes a digit, token 3 is the first byte
                digits = [[ord("0") + seen(row) % 4, ord("0") + seen(row) % 3] for row in rows]
                digit = task._tokenizer.convert_tokens_to_ids
                tokens = [[digit(chr(one)) for one in pair] for pair in digits]
                outputs.append(np.array(tokens).T[:, :, None])
    return outputs


@pytest.fixture
def bound(write, model):
    items, choices = write(*QUESTIONS), write(*CHOICES, name="choices.jsonl")
    return {
        "generation": GenerationTask(data=items, max_new_tokens=1).bind(model),
        "perplexity": PerplexityTask(data=items, length=5).bind(model),
        "choice": MultipleChoiceTask(data=choices, normalize="tokens").bind(model),
    }


@pytest.mark.parametrize("name", ["generation", "perplexity", "choice"])
@pytest.mark.parametrize("rows", [[0], [8, 2, 5], [1, 1], list(range(9))])
def test_some_items_have_the_results_that_they_have_among_all(bound, name, rows):
    task = bound[name]
    whole = task.score(program(task))
    part = task.take(np.array(rows))
    assert len(part) == len(rows)
    np.testing.assert_array_equal(part.score(program(part)), whole[:, rows])
    assert len(part.details(program(part), 1)) == len(rows)
    lengths = {batch.tokens.shape[1] for batch in task.batches}
    assert {batch.tokens.shape[1] for batch in part.batches} <= lengths
    if name != "perplexity":
        assert len(np.unique(whole)) > 1


def test_some_digits():
    model = type("Model", (), {"config": type("Config", (), {"hidden_sizes": [64, 10]})})
    task = digits_task().bind(model)
    rows = np.array([5, 3, 400])
    part = task.take(rows)
    logits = np.random.default_rng(0).normal(size=(2, len(task), 10))
    np.testing.assert_array_equal(part.score([logits[:, rows]]), task.score([logits])[:, rows])


@pytest.fixture
def several(write):
    items = write(*QUESTIONS)
    return SeveralTasks(
        {
            "sums": GenerationTask(data=items, max_new_tokens=1),
            "text": PerplexityTask(data=items, validation=items),
        },
        weights={"sums": 2.0},
    )


def test_several_tasks_are_their_tasks_one_after_another(several, bound, model):
    both = several.bind(model)
    assert several.splits == ("search",)
    assert len(several) == len(both) == 18
    scores = both.score(program(both))
    generation = bound["generation"]
    np.testing.assert_array_equal(scores[:, :9], generation.score(program(generation)))
    text = PerplexityTask(data=several.tasks["text"].data).bind(model)
    np.testing.assert_array_equal(scores[:, 9:], text.score(program(text)))
    assert [(part.name, part.weight) for part in parts_of(both)] == [("sums", 2.0), ("text", 0.0)]
    assert [record["task"] for record in both.details(program(both))] == ["sums"] * 9 + ["text"] * 9


def test_some_items_of_several_tasks(several, model):
    both = several.bind(model)
    rows = np.array([1, 8, 9, 13])
    part = both.take(rows)
    np.testing.assert_array_equal(part.score(program(part)), both.score(program(both))[:, rows])
    with pytest.raises(ValueError, match="none of the chosen items belongs to the task 'text'"):
        both.take(np.array([0, 1]))
    with pytest.raises(ValueError, match="in their order"):
        both.take(np.array([9, 1]))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"sum": 1}, "no task 'sum' .tasks: sums, text"),
        ({"sums": -1}, "fitness.weights.sums must be"),
        ({"sums": 0}, "all 0"),
    ],
)
def test_weights_that_make_no_sense(several, weights, message):
    with pytest.raises(ValueError, match=message):
        SeveralTasks(several.tasks, weights)


def test_one_task_is_not_several(several):
    with pytest.raises(ValueError, match=r"names 1 task\(s\); give two or more"):
        SeveralTasks({"sums": several.tasks["sums"]})


def test_size_needs_layers(model):
    with pytest.raises(ValueError, match="counts a decoder's layers"):
        SizeTask().bind(model)
