"""Runs that go on with another budget, and what may not change on the way."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from safetensors.numpy import load_file

from evojax_merge import evolve, resume
from evojax_merge.config import ConfigError, changed, compose, conf_directory
from evojax_merge.config.continuation import FREE
from evojax_merge.search.history import read_history

QUICK = [
    "+experiment=digits_halves",
    "strategy.population_size=4",
    "baselines.published=false",
    "baselines.sources=false",
]


def left_by(run: Path, search: str) -> list[dict[str, Any]]:
    """What the history holds of a search, but for the seconds."""
    rows = [row for row in read_history(run / "history.jsonl") if row["search"] == search]
    return [{**row, "seconds": None} for row in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("whole") / "run"
    options = ["search.evaluations=24", "baselines.random_search=true"]
    return evolve([*QUICK, *options], directory).directory


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("short") / "run"
    return evolve([*QUICK, "search.evaluations=10"], directory).directory


def test_a_finished_run_goes_on_to_the_bits_of_one_of_the_larger_budget(whole, finished):
    before = {name: (finished / name).read_text() for name in ("config.yaml", "results.json")}
    changes = ["search.evaluations=24", "baselines.random_search=true"]
    run = resume(finished, overrides=changes)
    assert run.result.evaluations == 24
    for search in ("evolved", "random_search"):
        rows = left_by(finished, search)
        assert len(rows) == 24
        assert rows == left_by(whole, search)
    assert (finished / "recipe.yaml").read_bytes() == (whole / "recipe.yaml").read_bytes()
    ours, theirs = (load_file(one / "export" / "model.safetensors") for one in (finished, whole))
    assert {k: v.tobytes() for k, v in ours.items()} == {k: v.tobytes() for k, v in theirs.items()}

    assert (finished / "config.yaml").read_text() == (whole / "config.yaml").read_text()
    assert (finished / "config.1.yaml").read_text() == before["config.yaml"]
    assert (finished / "results.1.json").read_text() == before["results.json"]
    assert yaml.safe_load((finished / "overrides.yaml").read_text()) == [*QUICK, *changes]

    with pytest.raises(ConfigError, match=r"search\.evaluations=20: the search has spent 24"):
        resume(finished, overrides=["search.evaluations=20"])
    assert not (finished / "config.2.yaml").exists()
    assert json.loads((finished / "results.json").read_text())


KEPT = compose(["+experiment=digits_halves", "search.evaluations=64"])


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("seed=3", "seed: cannot change in a run that goes on (all candidates follow from it)"),
        ("strategy.population_size=4", "strategy.population_size: cannot change"),
        ("fitness.limit=3", "scored by it"),
        ("search.finalists=16", "search.finalists: cannot change"),
        ("search.evalations=3", "did you mean search.evaluations?"),
        ("search.evaluations=1,2", "with one value"),
        ("+search.evaluations=1", "with one value"),
        ("search.evaluations=many", "search.evaluations=many: cannot be"),
        ("fitness.test=x.jsonl", "no configuration key fitness.test in this run"),
        ("no assignment", "cannot be read; give KEY=VALUE"),
    ],
)
def test_what_would_change_the_candidates_is_refused(override, reason):
    with pytest.raises(ConfigError) as refused:
        changed(KEPT, [override])
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_key_that_may_change_is_one():
    config = compose(["fitness.data=x.jsonl"])
    for key in FREE:
        parent, _, name = key.rpartition(".")
        assert name in (config[parent] if parent else config), key


def test_files_are_found_from_where_the_change_was_asked_for(tmp_path):
    config = compose(["fitness.data=x.jsonl"])
    assert changed(config, ["fitness.test=y.jsonl"]).config.fitness.test == "y.jsonl"
    there = changed(config, ["fitness.test=y.jsonl"], tmp_path).config.fitness.test
    assert there == str(tmp_path / "y.jsonl")


def test_another_tracker_may_follow_the_rest():
    after = changed(KEPT, ["tracker=wandb", "tracker.mode=offline"]).config
    assert after.tracker._target_.endswith("WeightsAndBiases")
    assert after.tracker.mode == "offline"


def test_every_strategy_that_is_told_the_budget_is_known_to_the_change():
    """One that is added needs a decision in `evojax_merge.config.continuation`."""
    told = [
        path.stem
        for path in (conf_directory() / "strategy").rglob("*.yaml")
        if "${search" in path.read_text()
    ]
    assert sorted(told) == ["grid", "optuna_cma"]


def test_strategies_that_are_told_the_budget_say_what_they_do():
    grid = compose(["+experiment=digits_halves", "strategy=grid", "search.evaluations=64"])
    OmegaConf.resolve(grid)  # as in the file of a run
    (note,) = changed(grid, ["search.evaluations=80"]).notes
    assert "the grid stays that of 64 evaluations" in note
    optuna = compose(["+experiment=digits_halves", "strategy=optuna_cma", "search.evaluations=64"])
    OmegaConf.resolve(optuna)
    with pytest.raises(ConfigError, match="was begun with room for 64 candidates"):
        changed(optuna, ["search.evaluations=80"])
    assert not changed(optuna, ["search.evaluations=60"]).notes


@given(st.integers(2, 10**6), st.floats(0.01, 0.99), st.integers(1, 10**6))
def test_a_longer_hybrid_search_keeps_its_first_search(before, share, more):
    space = {"_target_": "evojax_merge.spaces.HybridSpace", "share": share}
    budget = {"evaluations": before, "item_evaluations": None}
    config = OmegaConf.create({"search": budget, "space": space, "strategy": {}})
    after = changed(config, [f"search.evaluations={before + more}"]).config
    assert round(after.space.share * (before + more)) == max(1, round(share * before))
    assert 0 < after.space.share < 1


def test_the_space_of_a_hybrid_search_is_called_so():
    assert compose(["space=hybrid"]).space._target_ == "evojax_merge.spaces.HybridSpace"
