"""A measure of the user's own: what it may take and give, and what is refused before a search."""

import numpy as np
import pytest

from evojax_merge.documents.own_code import OwnCodeError
from evojax_merge.fitness import SeveralTasks, external_task
from evojax_merge.fitness.external.answers import AnswerError, numbers_of
from evojax_merge.fitness.external.folders import candidate_folder, folder_for

MEASURES = """
def plain(directory): return 1.0
def told(directory, split, data=None): return 1.0
def free(*where, **told): return 1.0
def strange(directory, model): return 1.0
def nothing(): return 1.0
def named(*, directory): return 1.0
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "measures_of_mine.py").write_text(MEASURES)
    (tmp_path / "items.csv").touch()
    return tmp_path


def make(name="plain", **given):
    return external_task(f"measures_of_mine.py:{name}", **given)


@pytest.mark.parametrize(
    ("given", "wanted", "numbers"),
    [
        (0.5, {"": 1}, [0.5]),
        (True, {"": 1}, [1]),
        ([1, 2, 3], {"": 3}, [1, 2, 3]),
        (np.float64(2), {"": 1}, [2]),
        ({"a": 1, "b": [2, 3], "unused": "x"}, {"b": 2, "a": 1}, [2, 3, 1]),
        ([1, float("inf"), 1e300], {"": 3}, [1, np.nan, np.nan]),
    ],
)
def test_numbers_are_taken_as_they_were_announced(given, wanted, numbers):
    np.testing.assert_array_equal(numbers_of(given, wanted, "fitness"), np.float32(numbers))


@pytest.mark.parametrize(
    ("given", "wanted", "message"),
    [
        (None, {"": 1}, "gives nothing (None); give a number, or a list"),
        ("0.5", {"": 1}, "gives '0.5'; give a number"),
        ([[1.0]], {"": 1}, "give a number, or a list of numbers"),
        ([1, [2]], {"": 2}, "give a number, or a list of numbers"),
        ([1, 2], {"": 1}, "gives 2 numbers, and 1 number is announced; say fitness.items=2"),
        ({"a": 1}, {"": 1}, "name those that count, as 'fitness.objectives=[a]'"),
        (1.0, {"a": 1, "b": 1}, "give a mapping of a, b, or leave the key out"),
        ({"lenght": 1}, {"length": 1, "a": 1}, "gives no length (did you mean lenght?)"),
        ({"a": [1, 2]}, {"a": 1}, "say 'fitness.objectives={a: 2}'"),
    ],
)
def test_other_answers_are_refused_with_what_to_do(given, wanted, message):
    with pytest.raises(AnswerError) as raised:
        numbers_of(given, wanted, "fitness")
    assert message in str(raised.value)


def test_splits_are_those_with_data_and_those_that_are_named(here):
    assert make().splits == ("search",)
    assert make(test="items.csv", splits=["validation"]).splits == SPLITS
    task = make(items={"search": 3, "test": 5}, test="items.csv")
    assert (len(task), len(task.on("test"))) == (3, 5)


SPLITS = ("search", "validation", "test")


def test_a_single_number_has_no_interval(here):
    assert not make().measure.sampled
    assert make(items=2).measure.sampled
    assert make(measure="speed", unit="tokens/s").measure.head == "speed, tokens/s"


def test_objectives_are_several_tasks(here):
    task = make(objectives=["a", "b"], weights={"a": 2, "b": 1}, unit={"a": "fraction"})
    assert isinstance(task, SeveralTasks)
    assert task.name == "plain"
    assert [one.measure.unit for one in task.tasks.values()] == ["fraction", "points"]
    assert len(make(objectives={"a": 20, "b": 1})) == 21
    assert make(objectives=["a"]).name == "plain"


@pytest.mark.parametrize("name", ["plain", "told", "free"])
def test_a_measure_may_take_more_than_the_directory(here, name):
    make(name)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("strange", {}, "takes (directory, model); a measure takes the directory of a candidate"),
        ("nothing", {}, "takes ()"),
        ("named", {}, "takes (directory)"),
        ("plain", {"items": 0}, "fitness.items must be a whole number of at least 1"),
        ("plain", {"items": {"dev": 1}}, "fitness.items: there is no split 'dev'"),
        ("plain", {"items": {"test": 1}}, "fitness.items does not say how many numbers the search"),
        ("plain", {"data": "item.csv"}, "item.csv: no such file (did you mean items.csv?)"),
        ("plain", {"splits": ["dev"]}, "fitness.splits names 'dev'"),
        ("plain", {"objectives": "a"}, "give a list of names"),
        ("plain", {"objectives": ["a", "a"]}, "each once"),
        ("plain", {"weights": {"a": 1}}, "weights are for several objectives"),
        (
            "plain",
            {"objectives": ["speed", "c"], "unit": {"speeed": "s"}},
            "no objective 'speeed' (did you mean speed?)",
        ),
        ("plain", {"objectives": ["a", "b"], "weights": {"c": 1}}, "there is no task 'c'"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(here, name, given, message):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        make(name, **given)
    assert message in str(raised.value)


def test_a_missing_function_is_named_by_its_key(here):
    with pytest.raises(OwnCodeError, match=r"^fitness\.function: measures_of_mine\.py has no"):
        make("plane")


def test_a_split_without_data_says_how_to_get_it(here):
    with pytest.raises(ValueError, match=r"fitness\.test=PATH, or fitness\.splits=\[test\]"):
        make().on("test")


def test_objectives_within_several_tasks_are_refused(here):
    inner = make(objectives=["a", "b"])
    with pytest.raises(ValueError, match=r"fitness\.tasks\.mine is several tasks itself"):
        SeveralTasks({"mine": inner, "other": make()})


def test_folders_are_gone_afterwards_and_those_of_killed_processes_too(tmp_path):
    with candidate_folder(tmp_path) as left:
        (left / "model").touch()
        with candidate_folder(tmp_path) as other:
            assert left.exists()  # held by a process that lives
            assert other != left
    assert not list(tmp_path.iterdir())
    (tmp_path / left.name).mkdir()
    with candidate_folder(tmp_path):
        assert not left.exists()


def test_a_candidate_goes_where_there_is_room(tmp_path):
    assert folder_for(10**18, None).is_dir()
    assert str(folder_for(10**18, None)) != "/dev/shm"
    assert folder_for(10**18, tmp_path) == tmp_path
