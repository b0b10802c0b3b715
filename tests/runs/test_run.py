"""Whole runs in processes of their own: killed, interrupted, resumed, applied, swept."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from evojax_merge import cli
from tests.processes import environment

COMMAND = [sys.executable, "-m", "evojax_merge"]
DIGITS = ["+experiment=digits_halves", "search.evaluations=96", "baselines.random_search=false"]
ENVIRONMENT = environment()


def start(*arguments: str, cwd: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def command(*arguments: str, cwd: Path) -> str:
    process = start(*arguments, cwd=cwd)
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    return out


def evolve(folder: Path, *more: str) -> list[str]:
    return ["evolve", *DIGITS, f"hydra.run.dir={folder}", *more]


def read_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def generations(folder: Path) -> int:
    saved = folder / "checkpoints" / "evolved"
    steps = [int(entry.name) for entry in saved.glob("*") if entry.name.isdigit()]
    return max(steps, default=0)


def wait_for(folder: Path, generation: int, process: subprocess.Popen) -> None:
    while generations(folder) < generation and process.poll() is None:
        time.sleep(0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """An uninterrupted run."""
    cwd = tmp_path_factory.mktemp("whole")
    command(*evolve(cwd / "run"), cwd=cwd)
    return cwd / "run"


def test_a_run_leaves_everything_behind(whole):
    results = json.loads((whole / "results.json").read_text())
    final = {row["name"]: row for row in results if row["split"] == "test"}
    assert list(final) == [
        "base",
        "low",
        "high",
        "average",
        "task_arithmetic",
        "ties",
        "evolved",
    ]
    for row in results:
        assert set(row) >= {"name", "split", "score", "low", "high", "evaluations", "seconds"}
        assert row["low"] <= row["score"] <= row["high"]
    assert final["evolved"]["score"] > final["average"]["score"]
    assert final["evolved"]["evaluations"] == 96
    (session,) = json.loads((whole / "provenance.json").read_text())["sessions"]
    assert session["outcome"] == "finished"
    assert session["command"][2:5] == ["evojax_merge", "evolve", "+experiment=digits_halves"]
    assert set(session["items"]) == {"search", "validation", "test"}
    recipe = yaml.safe_load((whole / "recipe.yaml").read_text())
    assert session["weights"]["low"] == recipe["sources"][0]["sha256"]
    for name in (
        "config.yaml",
        "recipe.yaml",
        "history.jsonl",
        "export/model.safetensors",
        "report.html",
        "examples.json",
    ):
        assert (whole / name).stat().st_size
    assert {path.name for path in (whole / "plots").iterdir()} == {
        "coefficients.png",
        "fitness.png",
    }


def test_latest_points_at_the_newest_run(whole):
    assert (whole.parent / "latest").resolve() == whole.resolve()


@pytest.mark.slow  # in one process: tests/trust/test_refused_starts.py
def test_a_refused_run_leaves_nothing_behind(tmp_path):
    refused = start("evolve", *DIGITS, "model.base=nowhere", cwd=tmp_path)
    assert "nowhere" in refused.communicate()[1]
    assert refused.returncode == 2
    assert not list((tmp_path / "runs" / "digits_halves").iterdir())


SLOW = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=SLOW) for seed in range(1, 8))])
def test_killed_at_any_moment_a_run_ends_the_same(whole, tmp_path, seed):
    folder = tmp_path / "run"
    rng = random.Random(seed)
    process = start(*evolve(folder), cwd=tmp_path)
    wait_for(folder, rng.randint(0, 8), process)
    time.sleep(rng.uniform(0, 0.3))
    process.kill()
    process.communicate()
    # Killed before the run had begun, there is nothing to resume: the same command starts it.
    begun = (folder / "config.yaml").exists()
    command(*(["resume", str(folder)] if begun else evolve(folder)), cwd=tmp_path)
    assert (folder / "recipe.yaml").read_bytes() == (whole / "recipe.yaml").read_bytes()
    for name in ("model.safetensors", "config.json"):
        ours, theirs = folder / "export" / name, whole / "export" / name
        assert ours.read_bytes() == theirs.read_bytes()


@SLOW
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_names_the_command_that_goes_on(whole, tmp_path, number):
    folder = tmp_path / "run"
    process = start(*evolve(folder), cwd=tmp_path)
    wait_for(folder, 2, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert f"evojax-merge resume {folder}" in out
    assert generations(folder) >= 2
    command("resume", str(folder), cwd=tmp_path)
    assert (folder / "recipe.yaml").read_bytes() == (whole / "recipe.yaml").read_bytes()


def test_a_recipe_rebuilds_the_checkpoint_to_the_bit(whole, tmp_path):
    command("apply", str(whole / "recipe.yaml"), "--out", "again", cwd=tmp_path)
    for name in ("model.safetensors", "config.json"):
        again, first = tmp_path / "again" / name, whole / "export" / name
        assert again.read_bytes() == first.read_bytes()


def test_a_recipe_whose_sources_changed_is_refused(whole, tmp_path, monkeypatch, capsys):
    recipe = yaml.safe_load((whole / "recipe.yaml").read_text())
    recipe["sources"][0]["sha256"] = "0" * 64
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["apply", "recipe.yaml", "--out", "again"])
    assert stopped.value.code == 2
    assert "are not the ones the recipe was made with" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()


def test_the_exported_checkpoint_scores_what_the_run_says(whole, tmp_path):
    arguments = ["fitness=digits", "--split", "test", "--out", str(tmp_path / "scores")]
    cli.main(["evaluate", str(whole / "export"), *arguments])
    (row,) = json.loads((tmp_path / "scores" / "results.json").read_text())
    results = json.loads((whole / "results.json").read_text())
    (expected,) = [r for r in results if (r["name"], r["split"]) == ("evolved", "test")]
    assert row["score"] == expected["score"]
    items = [json.loads(line) for line in read_lines(tmp_path / "scores" / "items.jsonl")]
    assert len(items) == expected["items"]


def test_the_winner_scores_in_the_end_what_the_search_wrote_down(whole):
    history = [json.loads(line) for line in read_lines(whole / "history.jsonl")]
    recipe = yaml.safe_load((whole / "recipe.yaml").read_text())
    weights = [w for source in (0, 1) for s in recipe["segments"] for w in [s["weight"][source]]]
    (row, *_) = [row for row in history if row["genotype"] == weights]
    results = json.loads((whole / "results.json").read_text())
    (final,) = [r for r in results if (r["name"], r["split"]) == ("evolved", "search")]
    assert np.float32(final["score"]) == np.float32(row["fitness"])
    assert len(load_file(whole / "export" / "model.safetensors")) == 4


@pytest.mark.slow
def test_a_sweep_ends_in_one_table(tmp_path):
    sweep = ["search.evaluations=16", "seed=0,1", "strategy=cma_es,random", "-m"]
    out = command("evolve", *DIGITS, *sweep, "hydra.sweep.dir=sweep", cwd=tmp_path)
    rows = (tmp_path / "sweep" / "results.csv").read_text().splitlines()
    assert rows[0].startswith("run,seed,strategy,name,split,score")
    evolved = [row for row in rows if ",evolved,test," in row]
    assert len(evolved) == 4
    assert any(row.startswith("3,1,random,evolved,test,") for row in evolved)
    assert "evolved merges of the sweep" in out
    assert "./3/report.html" in (tmp_path / "sweep" / "report.html").read_text(encoding="utf-8")
