"""Which documents drive a search, and which it never sees."""

from types import SimpleNamespace

import pytest

from evojax_merge.fitness.harness import documents
from evojax_merge.fitness.harness.documents import Documents, Wanted

DATA = {name: [{"n": f"{name} {n}"} for n in range(6)] for name in ("train", "dev", "test", "more")}
NONE = dict.fromkeys(("search", "validation", "test"))


def task(training=None, validation=None, test=None):
    config = SimpleNamespace(
        training_split=training, validation_split=validation, test_split=test, process_docs=None
    )
    methods = {}
    for role, name in (("training", training), ("validation", validation), ("test", test)):
        methods[f"has_{role}_docs"] = lambda name=name: name is not None
        methods[f"{role}_docs"] = lambda name=name: DATA[name]
    return SimpleNamespace(task_name="task", config=config, dataset=DATA, **methods)


@pytest.fixture(autouse=True)
def without_the_harness(monkeypatch):
    monkeypatch.setattr(documents, "_further", lambda task: list(task.dataset))


def shares(task, shares=None, limit=None, seed=0, **names):
    found = Documents(task, Wanted({**NONE, **names}, shares, seed, limit))
    return {split: (one.name, one.rows.tolist()) for split, one in found.shares.items()}


@pytest.mark.parametrize(
    ("given", "search", "test"),
    [
        (("train", "dev", "test"), "train", "test"),
        (("train", "dev", None), "train", "dev"),
        ((None, "dev", "test"), "dev", "test"),
        ((None, None, "test"), None, "test"),
        ((None, "dev", None), None, "dev"),
    ],
)
def test_the_harness_evaluates_what_a_search_does_not_see(given, search, test):
    found = shares(task(*given))
    assert found.get("search", (None,))[0] == search
    assert found["test"] == (test, list(range(6)))
    assert "validation" not in found


def test_splits_are_named_as_in_the_data_or_by_their_role():
    given = task("train", "dev", "test")
    found = shares(given, search="validation", validation="more", test="train", limit=2)
    assert found == {
        "search": ("dev", [0, 1]),
        "validation": ("more", [0, 1]),
        "test": ("train", [0, 1]),
    }
    with pytest.raises(ValueError, match=r"fitness.search_split is 'trian'.* \(did you mean train"):
        shares(given, search="trian")


def test_shares_divide_what_the_harness_evaluates():
    found = shares(task("train", None, "test"), shares=[0.5, 0.5])
    assert {name for name, _ in found.values()} == {"test"}
    assert sorted(found["search"][1] + found["test"][1]) == list(range(6))
    with pytest.raises(ValueError, match=r"fitness\.test_split names another"):
        shares(task("train", None, "test"), shares=[0.5, 0.5], test="dev")
    with pytest.raises(ValueError, match="split_seed is 1, and there is no split"):
        shares(task("train", None, "test"), seed=1)
