"""One file of items, divided into parts that a search sees and does not see."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evojax_merge.fitness import GenerationTask, MultipleChoiceTask, PerplexityTask, SeveralTasks
from evojax_merge.fitness.classification import classification_task
from evojax_merge.fitness.splits import PARTS, divide

SHARES = (0.6, 0.2, 0.2)
FILES = {"validation": None, "test": None}


def parts(count, shares=SHARES, seed=0):
    contents = [b"%d" % number for number in range(count)]
    return divide(contents, shares, seed, "task", FILES)


def test_parts_are_disjoint_and_as_large_as_asked():
    found = parts(100)
    assert {name: len(places) for name, places in found.items()} == {
        "search": 60,
        "validation": 20,
        "test": 20,
    }
    assert sorted(place for places in found.values() for place in places) == list(range(100))
    assert all(places == sorted(places) for places in found.values())
    assert parts(100, seed=1) != found


def test_the_division_is_the_same_everywhere():
    """By SHA-256 of seed and content, which no version of Python or NumPy changes."""
    assert parts(10) == {"search": [1, 2, 4, 5, 6, 7], "validation": [0, 8], "test": [3, 9]}
    program = "import sys; sys.path.insert(0, '.'); from tests.fitness.test_splits import parts; "
    command = [sys.executable, "-c", program + "print(parts(10))"]
    environment = {"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(filter(None, sys.path))}
    found = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=environment,
        check=True,
    )
    assert found.stdout.strip() == str(parts(10))


@given(
    st.lists(st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f", b"g"]), min_size=1, max_size=60),
    st.lists(st.integers(0, 4), min_size=1, max_size=3).filter(lambda shares: shares[0] > 0),
    st.integers(0, 5),
)
def test_equal_items_are_in_one_part_and_no_part_is_empty(contents, weights, seed):
    shares = [weight / max(sum(weights), 1) for weight in weights]
    try:
        found = divide(contents, shares, seed, "task", FILES)
    except ValueError:  # too few items, or too few that differ
        return
    asked = [n for n, share in zip(PARTS[len(shares)], shares, strict=True) if share]
    assert list(found) == asked
    owners = [{contents[place] for place in places} for places in found.values()]
    assert sum(map(len, owners)) == len(set.union(*owners))
    assert all(owners)


@pytest.mark.parametrize(
    ("shares", "names"),
    [
        ([0.7, 0.3], ["search", "test"]),
        ([0.7, 0, 0.3], ["search", "test"]),
        ([0.7, 0.3, 0], ["search", "validation"]),
        ([0.5], ["search"]),
        ((1,), ["search"]),
        ([0.1, 0.1, 0.1], ["search", "validation", "test"]),
    ],
)
def test_parts_that_are_not_asked_for_are_not_there(shares, names):
    assert list(parts(20, shares)) == names


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ([0.6, 0.3, 0.2], r"task: the shares of split=\[0.6, 0.3, 0.2\] add up to 1.1"),
        ([0, 0.5, 0.5], "leaves nothing to search by"),
        ([0.8, 0.1, 0.1, 0.0], "give shares between 0 and 1 of the search"),
        ([], "give shares"),
        ([1.5, -0.5], "give shares"),
        ([float("nan"), 0.5], "give shares"),
        (["0.5", 0.5], "give shares"),
        ([True, 0], "give shares"),
        ("test", "split is 'test'; give shares"),
        (0.5, "give shares"),
        ({"search": 1}, "give shares"),
        ([0.99, 0.01], "leaves no test items of 10"),
    ],
)
def test_shares_that_make_no_sense(shares, message):
    with pytest.raises(ValueError, match=message):
        parts(10, shares)


@pytest.mark.parametrize("seed", [-1, 0.5, True, "1", None])
def test_seeds_that_make_no_sense(seed):
    with pytest.raises(ValueError, match=r"split_seed is .*give a whole number"):
        parts(10, seed=seed)


ITEMS = [
    {"question": f"{n}?", "answer": n % 2, "choices": ["0", "1"], "text": f"text {n}"}
    for n in range(20)
]


@pytest.mark.parametrize("make", [GenerationTask, MultipleChoiceTask, PerplexityTask])
def test_every_text_task_divides_its_file(make, write, model):
    data = write(*ITEMS)
    task = make(data=data, split=[0.5, 0.25, 0.25], split_seed=3)
    assert task.splits == ("search", "validation", "test")
    seen = {s: {record.line for record in task.on(s).records} for s in task.splits}
    assert [len(lines) for lines in seen.values()] == [10, 5, 5]
    assert len(set.union(*seen.values())) == 20
    assert len(task.on("test").bind(model)) == 5
    again = make(data=data, split=[0.5, 0.25, 0.25], split_seed=3)
    assert task.on("test").records == again.on("test").records
    assert len(make(data=data, split=[0.5, 0.5], limit=10).on("test")) == 5
    with pytest.raises(ValueError, match=r"test names a file of its own .*leave one of them out"):
        make(data=data, split=[0.5, 0.5], test=data)
    with pytest.raises(ValueError, match="split_seed is 2, and there is no split"):
        make(data=data, split_seed=2)


def test_a_question_asked_twice_is_not_in_two_parts(write):
    data = write(*ITEMS, *ITEMS)
    task = GenerationTask(data=data, split=SHARES)
    questions = [{r.fields["question"] for r in task.on(s).records} for s in task.splits]
    assert sum(map(len, questions)) == 20


def test_feature_vectors_are_divided_too(tmp_path):
    features = np.arange(40.0).reshape(20, 2)
    np.savez(tmp_path / "data.npz", inputs=features, label=np.arange(20))
    task = classification_task(str(tmp_path / "data.npz"), split=[0.6, 0.4])
    parts = [task.on(split).examples for split in ("search", "test")]
    assert [len(part.labels) for part in parts] == [12, 8]
    assert sorted(np.concatenate([part.labels for part in parts])) == list(range(20))
    for part in parts:
        np.testing.assert_array_equal(part.inputs[:, 0], 2 * part.labels)
    with pytest.raises(ValueError, match="validation names a file"):
        classification_task(str(tmp_path / "data.npz"), str(tmp_path / "data.npz"), split=[1])


def test_tasks_on_one_file_see_the_same_items(write):
    data = write(*ITEMS)
    first, second = (make(data=data, split=SHARES) for make in (GenerationTask, PerplexityTask))
    for split in first.splits:
        lines = [[json.dumps(r.fields) for r in task.on(split).records] for task in (first, second)]
        assert lines[0] == lines[1]


def test_held_out_items_that_the_search_has_too_are_counted(write):
    data, other = write(*ITEMS[:5]), write(*ITEMS[3:9], name="test.jsonl")
    task = GenerationTask(data=data, test=other)
    assert [task.on(split).repeated for split in task.splits] == [0, 2]
    both = SeveralTasks({"a": task, "b": PerplexityTask(data=data, validation=data, test=other)})
    assert both.on("test").repeated == 4
    assert GenerationTask(data=data, split=[0.5, 0.5]).on("test").repeated == 0
