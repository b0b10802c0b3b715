"""Two processes end in the bits of one, whichever of them is stopped, killed or fails."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evojax_merge.documents.bundled import experiments_directory
from tests.kills.test_kills import Zygote
from tests.processes import environment

SEARCH = [
    "evolve",
    "+experiment=digits_halves",
    "search.evaluations=96",
    "strategy.population_size=8",
    "search.curve=2",
    "baselines.published=false",
    "baselines.random_search=false",
]
LONG = [*SEARCH[:2], "search.evaluations=4000", *SEARCH[3:]]
"""The same and so many generations that it is under way when it is told to stop."""

LONGEST = 200.0


@pytest.fixture(scope="module")
def zygote(tmp_path_factory):
    zygote = Zygote(tmp_path_factory.mktemp("cache"))
    yield zygote
    zygote.close()


@pytest.fixture(scope="module")
def whole(zygote, tmp_path_factory):
    """A run of one process."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    log = folder.with_name("log")
    assert zygote.wait(zygote.run([*SEARCH, f"hydra.run.dir={folder}"], log)) == 0, log.read_text()
    return folder


class Pair:
    """Two processes that carry out one command."""

    def __init__(self, zygote, command, folder, own=((), ())):
        with socket.create_server(("", 0)) as server:
            port = server.getsockname()[1]
        told = [f"distributed.coordinator=localhost:{port}", "distributed.processes=2"]
        told.append("distributed.heartbeat=6")
        self._zygote = zygote
        self._logs = [folder / f"log{index}-{port}" for index in (0, 1)]
        self.ids = [
            zygote.run([*command, *told, f"distributed.process={index}", *own[index]], log)
            for index, log in enumerate(self._logs)
        ]

    def wait(self):
        """How both ended, and what each said."""
        codes = [self._zygote.wait(process) for process in self.ids]
        return codes, [_without_gloo(log.read_text()) for log in self._logs]


def _without_gloo(text):
    """What a process said; Gloo says by itself that it is connected."""
    return "".join(line for line in text.splitlines(True) if not line.startswith("[Gloo]"))


def rows(folder):
    lines = (folder / "history.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def same(run, whole):
    assert rows(run) == rows(whole)
    for file in ("recipe.yaml", "export/model.safetensors", "config.yaml"):
        assert (run / file).read_bytes() == (whole / file).read_bytes(), file
    files = {path.name for path in run.iterdir()}
    assert files == {path.name for path in whole.iterdir()}


def until(condition):
    end = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def begun(run, lines=24):
    """Wait until some generations are done."""
    history = run / "history.jsonl"
    until(lambda: history.exists() and history.read_bytes().count(b"\n") >= lines)


def shorten(run):
    """Have a run that was stopped end as early as that of `SEARCH` does."""
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("evaluations: 4000", "evaluations: 96"))


def test_two_processes_end_in_the_bits_of_one(zygote, whole, tmp_path):
    run = tmp_path / "runs" / "run"
    pair = Pair(zygote, [*SEARCH, f"hydra.run.dir={run}"], tmp_path)
    codes, (first, second) = pair.wait()
    assert codes == [0, 0], first + second
    same(run, whole)
    assert "evolved" in first
    assert second == ""
    assert os.readlink(run.parent / "latest") == "run"


@pytest.mark.slow
def test_a_signal_to_one_stops_all_and_one_goes_on(zygote, whole, tmp_path):
    run = tmp_path / "run"
    pair = Pair(zygote, [*LONG, f"hydra.run.dir={run}"], tmp_path)
    begun(run, 16)
    os.kill(pair.ids[1], signal.SIGTERM)
    codes, (first, second) = pair.wait()
    assert codes == [130, 130], first + second
    assert first.endswith(
        f"continue with: evojax-merge resume {run}\n"
        "stopped by SIGTERM; everything completed is saved\n"
    )
    assert second == ""
    done = len(rows(run))
    assert done % 8 == 0
    assert (run / "checkpoints" / "evolved" / str(done // 8)).is_dir()
    if done > 96:
        pytest.skip("the machine is too fast for the signal to come in time")
    shorten(run)
    log = tmp_path / "log"
    assert zygote.wait(zygote.run(["resume", str(run)], log)) == 0, log.read_text()
    same(run, whole)


@pytest.mark.slow
def test_what_one_began_two_go_on_with(zygote, whole, tmp_path):
    run, log = tmp_path / "run", tmp_path / "log"
    process = zygote.run([*LONG, f"hydra.run.dir={run}"], log)
    begun(run, 8)
    os.kill(process, signal.SIGTERM)
    assert zygote.wait(process) == 130
    shorten(run)
    codes, said = Pair(zygote, ["resume", str(run)], tmp_path).wait()
    assert codes == [0, 0], said
    same(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_when_one_is_killed_the_other_says_so_and_ends(zygote, whole, tmp_path, killed):
    run = tmp_path / "run"
    pair = Pair(zygote, [*LONG, f"hydra.run.dir={run}"], tmp_path)
    begun(run, 16)
    os.kill(pair.ids[killed], signal.SIGKILL)
    began = time.monotonic()
    codes, said = pair.wait()
    assert codes[killed] == -signal.SIGKILL
    assert codes[1 - killed] == 2
    assert time.monotonic() - began < 60
    complaints = [line for line in said[1 - killed].splitlines() if line.startswith("error: ")]
    assert len(complaints) == 1
    assert f"process {killed} on " in complaints[0]
    shorten(run)
    codes, said = Pair(zygote, ["resume", str(run)], tmp_path).wait()
    assert codes == [0, 0], said
    same(run, whole)


def test_an_error_of_the_one_that_writes_ends_the_other(zygote, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("name: another\n")
    codes, (first, second) = Pair(zygote, [*SEARCH, f"hydra.run.dir={run}"], tmp_path).wait()
    assert codes == [2, 2]
    assert first.startswith(f"error: {run}: holds a run of another configuration")
    assert second.startswith("error: process 0 on ")
    assert f"failed: {run}: holds a run of another configuration" in second
    assert len(second.splitlines()) == 1


def test_other_settings_on_another_host_are_named(zygote, tmp_path):
    command = [*SEARCH, f"hydra.run.dir={tmp_path / 'run'}"]
    codes, (first, second) = Pair(zygote, command, tmp_path, ((), ["seed=3"])).wait()
    assert codes == [2, 2]
    assert "process 1 on " in first
    assert "other settings than process 0 on " in first
    assert "seed is 3 instead of 0" in first
    assert second == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_other_weights_on_another_host_are_named(tmp_path):
    """As where two machines hold copies of models, and one of them is another model."""
    sources = Path(experiments_directory()) / "digits" / "sources"
    places = [tmp_path / "host0", tmp_path / "host1"]
    for place, high in zip(places, ("high", "low"), strict=True):
        place.mkdir()
        for name, source in {"base": "base", "low": "low", "high": high}.items():
            (place / name).symlink_to(sources / source)
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
    command = [sys.executable, "-m", "evojax_merge", *SEARCH, "model.base=base"]
    command += ["model.sources=[low,high]", f"hydra.run.dir={tmp_path / 'run'}"]
    command += [f"distributed.coordinator=localhost:{port}", "distributed.processes=2"]
    began = [
        subprocess.Popen(
            [*command, f"distributed.process={index}"],
            cwd=place,
            env=environment(PYTHONPATH=os.pathsep.join(path for path in sys.path if path)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index, place in enumerate(places)
    ]
    first, second = (_without_gloo(process.communicate(timeout=LONGEST)[0]) for process in began)
    assert [process.returncode for process in began] == [2, 2]
    assert "process 1 on " in first
    assert "has other files than process 0 on " in first
    assert "the sha256 of high is " in first
    assert second == ""
