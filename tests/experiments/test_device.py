"""The benchmark of one device goes on whatever fails, within its time."""

import importlib
import json
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import jax
import pytest

BENCHMARKS = Path(__file__).parents[2] / "experiments" / "benchmarks"


@pytest.fixture
def device(monkeypatch):
    """The driver, which imports its neighbours as scripts do."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("device")


@pytest.fixture
def child(device, monkeypatch, tmp_path):
    """A function from a part's steps to the rows that it writes."""

    def run(steps):
        monkeypatch.setattr(device, "steps_of", lambda name, shape: steps)
        device.child("rows", "1m", tmp_path / "rows.jsonl")
        lines = (tmp_path / "rows.jsonl").read_text().splitlines()
        return [one for one in map(json.loads, lines) if "begun" not in one]

    return run


def fails():
    raise MemoryError("no room\nwith details")


def test_a_step_that_fails_is_said_and_the_next_one_runs(device, child):
    found = child([("large", fails), ("small", lambda: [device.row("figure", 2.0, "s")])])
    assert found[0]["problem"] == "MemoryError: no room"
    assert (found[0]["name"], found[1]["name"]) == ("rows, large", "figure")


def test_what_was_measured_before_a_part_broke_is_kept(device, child):
    def steps():
        yield "one", lambda: [device.row("figure", 2.0, "s")]
        fails()

    found = child(steps())
    assert [one["name"] for one in found] == ["figure", "rows"]
    assert found[1]["problem"] == "MemoryError: no room"


def test_a_part_leaves_later_ones_the_least_that_they_need(device, monkeypatch):
    limits = {}

    def run_part(name, shape, limit):
        limits[name] = limit
        return [device.row(name, 1.0, "s") | {"part": name}]

    monkeypatch.setattr(device, "run_part", run_part)
    parts = {"first": (50, 100), "second": (30, 80), "third": (25, 60), "last": (200, 200)}
    monkeypatch.setattr(device, "PARTS", {name: device.Part(*own) for name, own in parts.items()})
    device.benchmark("1m", ["first", "second", "last"], 300.0)
    assert limits == pytest.approx({"first": 70, "second": 80, "last": 200}, abs=1)
    first, last = device.benchmark("1m", ["first", "last"], 240.0)
    assert first["problem"] == "left out: 40 s were left for it"
    assert "problem" not in last


def test_a_part_is_killed_when_its_time_is_up(device, monkeypatch, tmp_path):
    script = tmp_path / "device.py"
    script.write_text(
        "import pathlib, sys, time\n"
        'out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])\n'
        """out.write_text('{"name": "figure"}\\n{"begun": "long"}\\n')\n"""
        "time.sleep(60)\n"
    )
    monkeypatch.setattr(device, "HERE", tmp_path)
    begun = time.monotonic()
    kept, found = device.run_part("rows", "1m", 2.0)
    assert time.monotonic() - begun < 30
    assert kept == {"name": "figure", "part": "rows"}
    assert (found["name"], found["problem"]) == ("rows, long", "it was ended after 2 s")


def test_a_peer_that_is_not_there_is_said(device):
    if find_spec("vllm") is not None:
        pytest.skip("vLLM is installed")
    (left_out,) = device.benchmark("1m", ["vllm"], 500.0)
    assert left_out["problem"] == "left out: it is not installed"


def test_peers_are_compared_with_ours_for_the_same_batch(device):
    ours = device.row("generate, batch 8", 300.0, "tokens/s") | {"part": "rows"}
    theirs = device.row("transformers generate on cpu, batch 8", 100.0, "tokens/s")
    rows = device.compared([ours, theirs | {"part": "torch"}])
    assert rows[2]["ratio"] == 3
    assert rows[2]["name"] == "generate, batch 8, against transformers generate on cpu"


@pytest.mark.slow
def test_a_large_shape_is_refused_by_a_processor(device):
    if jax.default_backend() != "cpu":
        pytest.skip("there is an accelerator")
    with pytest.raises(RuntimeError, match="SHAPE=25m is for a CPU"):
        device.steps_of("merges", "7b")


@pytest.mark.slow
def test_a_small_shape_runs_to_the_end(tmp_path):
    out = tmp_path / "device.json"
    options = ["--shape", "1m", "--parts", "rows", "candidate", "kernel", "--out", str(out)]
    command = [sys.executable, str(BENCHMARKS / "device.py"), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    rows = {one["name"]: one for one in json.loads(out.read_text())}
    assert not [one for one in rows.values() if "problem" in one]
    assert rows["answers as long as drawn"]["value"] == 1
    assert rows["search and export differ: dare_ties, 1m"]["value"] == 0
    assert rows["next tokens equal after the same tokens"]["value"] == 1
    assert {"prefill, batch 8", "decode, batch 1", "peak memory, rows, process"} <= rows.keys()


@pytest.mark.few(1)
@pytest.mark.parametrize("operator", ["dare_ties", "linear"])
def test_candidates_have_the_bits_of_exports(device, operator):
    parts = importlib.import_module("device_parts")
    work = importlib.import_module("device_search").WORK["1m"]
    steps = dict(parts.bits("1m", work))
    (row,) = steps[operator]()
    assert "problem" not in row
    assert row["value"] == 0
