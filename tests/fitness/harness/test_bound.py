"""Requests as arrays, and answers given back in their order, to a stand-in for the harness."""

import dataclasses
import random
from types import SimpleNamespace

import numpy as np
import pytest

from evojax_merge.fitness import lm_eval_task
from evojax_merge.fitness.harness.answers import Limits
from evojax_merge.fitness.harness.bound import bound_task
from evojax_merge.fitness.harness.encoding import HarnessEncoder
from evojax_merge.fitness.harness.judging import Item, Judge
from evojax_merge.fitness.harness.loading import seeded
from evojax_merge.fitness.harness.metrics import ItemMetric
from tests.fitness.conftest import language_model

LIMITS = Limits(None, 3)


@dataclasses.dataclass
class Instance:
    """What is used of the harness's class of this name."""

    request_type: str
    doc: dict
    arguments: tuple
    doc_id: int
    idx: int = 0
    repeats: int = 1
    resps: list = dataclasses.field(default_factory=list)
    filtered_resps: dict = dataclasses.field(default_factory=dict)

    @property
    def args(self):
        return self.arguments


class TakeFirst:
    name = "none"

    def apply(self, instances):
        for instance in instances:
            instance.filtered_resps[self.name] = instance.resps[0]


def judge(requests, process, kind="mean", name="acc"):
    task = SimpleNamespace(task_name="fake", _filters=[TakeFirst()], process_results=process)
    return Judge(task, ItemMetric(name, "none", kind, 1.0), requests)


def bound(requests, process, greedy=False, **metric):
    own = judge(requests, process, **metric)
    encoder = HarnessEncoder(language_model(context=32), "fake", None)
    return bound_task([Item(own, n) for n in range(len(requests))], encoder, greedy, LIMITS)


def choices(*texts):
    """A document for each group of texts, of which the last one is right."""
    return [
        [Instance("loglikelihood", {"n": n}, ("q" * 20 * n, text), n) for text in own]
        for n, own in enumerate(texts)
    ]


def likeliest(document, results):
    values = [value for value, _ in results]
    return {"acc": float(np.argmax(values) == len(values) - 1), "greedy": results[-1][1]}


def outputs(bound, values):
    """Values of the rows in their order, as the device gives them by bucket."""
    return [np.asarray(values, np.float32)[:, rows] for rows in bound._likelihood._rows]


def test_items_of_several_texts_are_judged_and_taken():
    task = bound(choices(["a", "b"], ["c", "d", "e"], ["f", "g"]), likeliest)
    given = [[-1, -2, -3, -4, -1, -2, -1], [-2, -1, -1, -4, -2, -5, -9]]
    assert task.score(outputs(task, given)).tolist() == [[0, 1, 1], [1, 0, 0]]
    part = task.take(np.array([2, 0]))
    assert part.score(outputs(part, [[-2, -1, -1, -2]])).tolist() == [[1, 0]]
    assert [one["document"] for one in part.details(outputs(part, [[-2, -1, -1, -2]]))] == [2, 0]


def test_likelihoods_that_are_not_numbers_are_passed_on():
    task = bound(choices(["a", "b"], ["c", "d"]), likeliest)
    scores = task.score(outputs(task, [[np.nan, -1, -np.inf, -1]]))
    assert np.isnan(scores[0, 0])
    assert scores[0, 1] == 1


def test_whether_greedy_decoding_writes_the_text_is_handed_on():
    task = bound(choices(["a", "b"]), likeliest, greedy=True, name="greedy")
    assert task.request.greedy
    assert task.score(outputs(task, [[[-1, 0], [-2, 1]]])).tolist() == [[1]]


def test_pages_longer_than_the_context_are_sums_of_windows():
    pages = ["a" * 40, "b" * 5]
    requests = [[Instance("loglikelihood_rolling", {}, (page,), n)] for n, page in enumerate(pages)]
    pytest.importorskip("lm_eval")  # whose windows they are
    task = bound(
        requests,
        lambda document, results: {"word": (results[0], 4)},
        kind="weighted_perplexity",
        name="word",
    )
    assert len(task.batches) >= 1
    assert task.score(outputs(task, [[-1, -2, -4]])).tolist() == [[-0.75, -1]]


def test_answers_are_cut_as_the_harness_cuts_them_and_judged_once():
    seen = []

    def process(document, results):
        seen.append((document["n"], results[0]))
        return {"acc": len(results[0])}

    kwargs = {"until": ["Q:", "##"], "max_gen_toks": 8}
    requests = [
        [Instance("generate_until", {"n": n}, ("p" * (n + 1), dict(kwargs)), n)] for n in range(3)
    ]
    task = bound(requests, process)
    model = language_model()

    def written(texts):
        rows = np.zeros((1, len(texts), 8), np.int32)
        for row, text in enumerate(texts):
            ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
            rows[0, row, : len(ids)] = ids
        return [rows[:, own] for own in task._rows]

    given = written(["ab##c", "Q:abcde", "a</s>bc"])
    assert task.score(given).tolist() == [[2, 0, 1]]
    assert task.score(given).tolist() == [[2, 0, 1]]
    assert sorted(seen) == [(0, "ab"), (1, ""), (2, "a")]
    part = task.take(np.array([1]))
    assert part.details([given[0][:, 1:2]])[0]["responses"] == [""]


def test_what_one_program_cannot_do_is_refused():
    mixed = [*choices(["a", "b"]), [Instance("generate_until", {}, ("p", {}), 1)]]
    with pytest.raises(ValueError, match="asks for generate_until and loglikelihood at once"):
        bound(mixed, likeliest)
    differ = [[Instance("generate_until", {}, ("p", {"max_gen_toks": n}), n)] for n in (4, 5)]
    with pytest.raises(ValueError, match="generation settings of their own"):
        bound(differ, likeliest)


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (lambda document, results: {"f1": 1}, "acc is not given for every item"),
        (lambda document, results: {"acc": "no"}, "gives str for an item"),
        (lambda document, results: 1 / 0, r"cannot judge an answer \(ZeroDivisionError"),
    ],
)
def test_a_metric_that_cannot_be_told_is_refused_before_anything_is_computed(process, message):
    with pytest.raises(ValueError, match=f"fake: .*{message}"):
        bound(choices(["a", "b"]), process)


def test_numbers_drawn_for_the_harness_are_no_others():
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    with seeded():
        inside = random.random(), np.random.random()  # noqa: NPY002
    with seeded():
        assert (random.random(), np.random.random()) == inside  # noqa: NPY002
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002


def test_without_the_harness_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lm_eval", None)
    with pytest.raises(ValueError, match=r"pip install 'evojax-merge\[lm-eval\]'"):
        lm_eval_task(["gsm8k"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": "gsm8k"}, "give a list of names"),
        ({"tasks": []}, "give a list of names"),
        ({"tasks": ["a", "a"]}, "names a task twice"),
        ({"limit": 0}, "fitness.limit must be a whole number of at least 1"),
        ({"fewshot_as_multiturn": True}, "set fitness.apply_chat_template=true"),
        ({"apply_chat_template": "yes"}, "fitness.apply_chat_template must be true or false"),
    ],
)
def test_arguments_are_checked_first(arguments, message):
    with pytest.raises(ValueError, match=message):
        lm_eval_task(**{"tasks": ["gsm8k"], **arguments})
