"""Objectives beside the answers of another task: written once, measured by several."""

import jax
import numpy as np
import pytest

from evojax_merge.checkpoints import load
from evojax_merge.fitness import (
    AgreementTask,
    DistanceTask,
    GenerationTask,
    LengthTask,
    PerplexityTask,
    SeveralTasks,
)
from evojax_merge.fitness import agreement as agreement_room
from evojax_merge.fitness.beside import prepare
from evojax_merge.fitness.several import parts_of, tasks_of
from evojax_merge.measuring.measure import measure
from tests.checkpoints_factory import write_family
from tests.fitness.conftest import written

ITEMS = [{"question": "?" * n, "answer": n} for n in (3, 40, 5, 60)]


@pytest.fixture
def sums(write):
    return GenerationTask(data=write(*ITEMS), test=write(*ITEMS[:2], name="test.jsonl"), buckets=2)


def test_answers_are_written_once_and_counted(sums, model):
    tasks = SeveralTasks({"length": LengthTask(), "sums": sums})
    assert tasks.splits == ("search", "test")
    assert len(tasks.on("test")) == 4
    bound = tasks.bind(model)
    assert len(tasks_of(bound)) == 1
    answers = [["3", "no 40", "", "x" * 300], ["1", "2", "3", "4"]]
    outputs = written(bound.tasks["sums"], answers)
    scores = bound.score(outputs)
    assert scores[0].tolist() == [-1, -5, 0, -256, 1, 1, 0, 0]
    assert scores[1].tolist() == [-1, -1, -1, -1, 0, 0, 0, 0]
    assert [part.name for part in parts_of(bound)] == ["length", "sums"]
    assert bound.details(outputs, 0)[3] == {"task": "length", "item": 3, "result": -256.0}


def test_some_items_are_written_once_where_they_are_the_same(sums, model):
    bound = SeveralTasks({"sums": sums, "length": LengthTask()}).bind(model)
    part = bound.take(np.array([1, 2, 5, 6]))
    assert len(tasks_of(part)) == 1
    assert part.score(written(part.tasks["sums"], [["40", "abc"]])).tolist() == [[1, 0, -2, -3]]
    apart = bound.take(np.array([0, 6]))
    assert len(tasks_of(apart)) == 2
    outputs = [
        *written(apart.tasks["sums"], [["3"]]),
        *written(apart.tasks["length"].source, [["abc"]]),
    ]
    assert apart.score(outputs).tolist() == [[1, -3]]


def test_which_task_is_meant(sums, write, model):
    text = PerplexityTask(data=write({"text": "a"}, name="texts.jsonl"))
    with pytest.raises(ValueError, match=r"answers are: a, b; name one as fitness.tasks.length.of"):
        SeveralTasks({"a": sums, "b": sums, "length": LengthTask()})
    with pytest.raises(ValueError, match="write answers are: none"):
        SeveralTasks({"text": text, "length": LengthTask()})
    with pytest.raises(ValueError, match=r"of is 'sum', and models .* of sums \(did you mean sums"):
        SeveralTasks({"sums": sums, "length": LengthTask(of="sum")})
    with pytest.raises(ValueError, match=r"there must be one, as 'fitness=\[generation,length\]'"):
        LengthTask().bind(model)
    both = SeveralTasks({"a": sums, "b": sums, "length": LengthTask(of="b")})
    assert both.tasks["length"].source is both.tasks["b"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_family(tmp_path_factory.mktemp("models"))


@pytest.fixture
def asked(write):
    items = [{"question": one, "answer": 1} for one in ("a b", "c")]
    return GenerationTask(data=write(*items), max_new_tokens=6)


def test_agreement_with_another_model(models, asked, tmp_path, monkeypatch):
    same = {
        compare: AgreementTask(str(models["base"]), compare=compare, keep=str(tmp_path / "kept"))
        for compare in ("tokens", "whole")
    }
    tasks = SeveralTasks({"g": asked, **same})
    model = load(models["base"])
    bound = tasks.bind(model)
    prepare(bound)
    items, outputs = measure(model, bound)
    assert items[2:].tolist() == [1] * 4
    own = next(batch for batch in outputs)
    changed = own.copy()
    changed[0, 0, -1] += 1  # one of six tokens of one answer
    found = bound.score([changed, *outputs[1:]])[0]
    assert sorted(found[2:4].tolist()) == pytest.approx([5 / 6, 1])
    assert sorted(found[4:].tolist()) == [0, 1]
    part = bound.take(np.array([1, 3, 5]))
    np.testing.assert_array_equal(part.tasks["tokens"]._known, bound.tasks["tokens"]._known[1:])
    # What the other model wrote is kept, and it writes no more.
    monkeypatch.setattr(agreement_room, "_written", None)
    kept = tasks.bind(model)
    prepare(kept)
    np.testing.assert_array_equal(kept.score(outputs)[0], items)


def test_models_that_cannot_be_agreed_with(models, asked):
    with pytest.raises(ValueError, match=r"there is no model to agree with; give model\.base"):
        AgreementTask(None)
    with pytest.raises(ValueError, match="compare"):
        AgreementTask("x", compare="words")
    tasks = SeveralTasks({"g": asked, "same": AgreementTask("/no/such")})
    with pytest.raises(ValueError, match="no such directory"):
        tasks.bind(load(models["base"]))


def test_distance_of_weights(models):
    base, other = load(models["base"]), load(models["a"])
    bound = DistanceTask(str(models["base"])).bind(base)
    prepare(bound)
    assert measure(base, bound)[0].tolist() == [0]

    def norm(tree):
        leaves = jax.tree.leaves(tree)
        return np.sqrt(sum(np.square(np.asarray(one, np.float64)).sum() for one in leaves))

    apart = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), other.params, base.params)
    items, outputs = measure(other, bound)
    assert -items[0] == pytest.approx(norm(apart) / norm(base.params), rel=1e-5)
    assert items[0] < 0
    assert bound.details(outputs)[0]["distance"] == pytest.approx(-items[0])


def test_bases_that_do_not_fit(models, tmp_path):
    with pytest.raises(ValueError, match=r"there is no base to be close to; give model\.base"):
        DistanceTask(None)
    smaller = write_family(tmp_path, intermediate_size=8)
    with pytest.raises(ValueError, match=r"of the models is \(.*name a base of the same shapes"):
        DistanceTask(str(smaller["base"])).bind(load(models["base"]))
