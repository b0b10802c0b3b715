"""Whole runs whose directory was damaged, half written by a killed process, or made read-only."""

import errno
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from evojax_merge import api, evolve
from evojax_merge.api import run_directory
from evojax_merge.search.checkpointer import DamagedCheckpointWarning
from evojax_merge.search.history import HistoryWarning
from evojax_merge.search.lock import LockedError, ReadOnlyError, locked

EVALUATIONS = 32
SMALL = [
    "+experiment=digits_halves",
    f"search.evaluations={EVALUATIONS}",
    "strategy.population_size=8",
    "search.curve=3",
    "baselines.published=false",
    "baselines.random_search=true",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return evolve(SMALL, tmp_path_factory.mktemp("runs") / "whole").directory


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    return shutil.copytree(whole, tmp_path / "copy")


def without_seconds(path: Path) -> list[dict]:
    text = path.read_text()
    rows = json.loads(text) if path.suffix == ".json" else map(json.loads, text.splitlines())
    kept = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
    # What is measured again is appended, behind the searches that came later.
    return sorted(kept, key=lambda row: row.get("search", ""))


def assert_same(ours: Path, theirs: Path) -> None:
    for name in ("recipe.yaml", "export/model.safetensors", "export/config.json"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    for name in ("history.jsonl", "results.json"):
        assert without_seconds(ours / name) == without_seconds(theirs / name), name


@pytest.mark.slow
def test_a_damaged_generation_and_what_killed_processes_left_change_nothing(whole, copy):
    for file in (copy / "checkpoints/evolved/4/default/d").iterdir():
        os.truncate(file, 3)
    shutil.copytree(copy / "export", copy / ".export-abc_0123")
    shutil.move(copy / "export", copy / ".export-old-abc_0123")
    (copy / ".recipe.yaml.12.34").write_text("half")
    shutil.copytree(whole / "export", copy / ".exports")  # somebody's
    with pytest.warns(DamagedCheckpointWarning, match="generation 4 cannot be read"):
        api.resume(copy)
    assert_same(copy, whole)
    left = {path.name for path in copy.iterdir() if path.name.startswith(".")}
    assert left == {".exports", ".lock"}


@pytest.mark.slow
def test_a_line_that_is_lost_is_not_counted_by(whole, copy):
    lines = (copy / "history.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "history.jsonl").write_bytes(b"".join([*lines[:9], b"garbage\n", *lines[10:]]))
    (copy / "curve.json").unlink()
    with pytest.warns(HistoryWarning) as caught:
        api.resume(copy)
    messages = [str(each.message) for each in caught if each.category is HistoryWarning]
    assert [
        bool(re.search("line 10 cannot|lacks cand|curve.json is left", m)) for m in messages
    ] == [True] * 3
    assert without_seconds(copy / "results.json") == without_seconds(whole / "results.json")
    assert (copy / "recipe.yaml").read_bytes() == (whole / "recipe.yaml").read_bytes()
    assert (copy / "history.jsonl").read_bytes() == b"".join([*lines[:9], *lines[10:]])
    assert not (copy / "curve.json").exists()


def test_a_history_that_is_gone_is_not_counted_by(whole, copy):
    (copy / "history.jsonl").unlink()
    with pytest.warns(HistoryWarning, match="generations 0-3"):
        api.resume(copy)
    assert without_seconds(copy / "results.json") == without_seconds(whole / "results.json")


def written(directory: Path) -> dict[Path, int]:
    """When each file was written."""
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.name != ".lock"}


def test_a_run_that_another_process_writes_is_left_alone(copy):
    before = written(copy)
    with locked(copy):
        with pytest.raises(LockedError, match="is being written by process"):
            api.resume(copy)
        with pytest.raises(LockedError, match="is being written by process"):
            evolve(SMALL, copy)
    assert written(copy) == before


def test_a_start_that_comes_second_removes_nothing(tmp_path):
    """Also where the first has not come so far that there are checkpoints."""
    directory = tmp_path / "run"
    directory.mkdir()
    with locked(directory), pytest.raises(LockedError):
        evolve(SMALL, directory)
    assert directory.exists()


@pytest.fixture
def read_only(monkeypatch):
    def refuse(directory):
        raise ReadOnlyError(errno.EROFS, os.strerror(errno.EROFS), str(directory / ".lock"))

    monkeypatch.setattr(run_directory, "locked", refuse)


def test_a_finished_run_that_cannot_be_written_can_be_read(whole, copy, read_only):
    before = written(copy)
    run = api.resume(copy)
    assert without_seconds(copy / "results.json") == without_seconds(whole / "results.json")
    assert run.result.evaluations == EVALUATIONS
    assert run.model is not None
    assert written(copy) == before


def test_an_unfinished_run_that_cannot_be_written_says_what_to_do(copy, read_only):
    (copy / "results.json").unlink()
    with pytest.raises(
        ValueError, match=r"\.lock: cannot be written \(Read-only file system\), an"
    ):
        api.resume(copy)
