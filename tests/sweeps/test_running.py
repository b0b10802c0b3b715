"""A sweep ends the same, however often it was stopped and whoever starts its jobs."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import yaml

from evojax_merge import api, cli
from evojax_merge.report.progress import RunProgress
from evojax_merge.runs.provenance import shown_command
from evojax_merge.sweeps import running
from tests.processes import environment
from tests.sweeps.small import evolve, outcome

COMMAND = [sys.executable, "-m", "evojax_merge"]
JOBS = range(4)


def failed(arguments: list[str], code: int = 2) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == code


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> tuple[Path, str]:
    """A sweep of which one job is done, one had a full disk, one is half done, one not begun."""
    directory = tmp_path_factory.mktemp("stopped") / "sweep"
    resume, shown = api.resume, RunProgress.on_generation

    def end_after_the_first(progress, course, generation):
        shown(progress, course, generation)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patched, redirect_stdout(io.StringIO()) as printed:

        def resume_on_a_full_disk(folder, *arguments, **more):
            if folder.name == "1":
                file = str(folder / "history.jsonl")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file)
            if folder.name == "2":
                patched.setattr(RunProgress, "on_generation", end_after_the_first)
            return resume(folder, *arguments, **more)

        patched.setattr(api, "resume", resume_on_a_full_disk)
        failed(evolve(directory, "seed=0,1,2,3"), code=130)
    return directory, printed.getvalue()


@pytest.fixture
def half(stopped, tmp_path) -> Path:
    return Path(shutil.copytree(stopped[0], tmp_path / "sweep"))


def test_a_resumed_sweep_ends_as_one_that_was_not_interrupted(whole, stopped, half, capsys):
    assert f"continue with: evojax-merge resume {stopped[0]}" in stopped[1]
    assert (half / "0" / "finished").exists()
    assert "No space left on device" in (half / "1" / "error.txt").read_text()
    lines = (half / "2" / "history.jsonl").read_text().splitlines()
    assert len(lines) == 4
    assert {path.name for path in (half / "3").iterdir()} == {"config.yaml", "overrides.yaml"}
    done = (half / "0" / "results.json").stat().st_mtime_ns

    cli.main(["resume", str(half)])

    assert (half / "0" / "results.json").stat().st_mtime_ns == done
    for job in JOBS:
        assert outcome(half / str(job)) == outcome(whole / str(job))
        assert not (half / str(job) / "error.txt").exists()
    out = capsys.readouterr().out
    assert "evolved merges of the sweep" in out
    assert "jobs that are not done" not in out
    begun = [line.split(":")[0] for line in out.splitlines() if line.startswith("job ")]
    assert begun == [f"job {half}/{job}" for job in (1, 2, 3)]
    table, expected = (path / "results.csv" for path in (half, whole))
    assert len(table.read_text().splitlines()) == len(expected.read_text().splitlines())


def test_the_same_command_goes_on_with_its_sweep(whole, half):
    cli.main(evolve(half, "seed=0,1,2,3"))
    assert [outcome(half / str(job)) for job in JOBS] == [outcome(whole / str(job)) for job in JOBS]


def test_another_sweep_is_not_mixed_in(half, capsys):
    before = sorted(half.rglob("*"))
    failed(evolve(half, "seed=0,1,2"))
    assert "holds another sweep" in capsys.readouterr().err
    failed(evolve(half, "seed=0,1,2,4"))
    assert "holds a run of another configuration" in capsys.readouterr().err
    assert sorted(half.rglob("*")) == before


def test_jobs_that_fail_are_named_with_the_reason(tmp_path, capsys):
    failed(evolve(tmp_path / "sweep", "search.curve=1,0,1"))
    printed = capsys.readouterr()
    table = printed.out[printed.out.index("jobs that are not done") :]
    assert "search.curve is 1; give 0" in " ".join(table.replace("│", " ").split())
    assert table.count("failed") == 2
    assert "of 3 jobs 2 failed, 1 done" in printed.err
    assert f"evojax-merge resume {tmp_path}/sweep" in printed.err
    assert "evolved merges of the sweep" in printed.out


def test_an_unforeseen_error_ends_its_job_only(tmp_path, monkeypatch, capsys):
    resume = api.resume

    def resume_with_a_fault(folder, *arguments, **more):
        if folder.name == "0":
            raise KeyError("of a library")
        return resume(folder, *arguments, **more)

    monkeypatch.setattr(api, "resume", resume_with_a_fault)
    failed(evolve(tmp_path / "sweep", "seed=0,1"))
    assert "KeyError: 'of a library'" in (tmp_path / "sweep" / "0" / "error.txt").read_text()
    printed = capsys.readouterr()
    assert "Traceback" in printed.err
    assert "1 failed, 1 done" in printed.err


@pytest.fixture
def _workers_end():
    yield
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)


@pytest.mark.usefixtures("_workers_end")
def test_two_workers_of_joblib_find_the_same(whole, tmp_path, capfd):
    directory = tmp_path / "sweep"
    joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    failed(evolve(directory, "seed=0,1", "search.curve=0,1", *joblib))
    printed = capfd.readouterr()
    assert "of 4 jobs 2 done, 2 failed" in printed.err
    for name in ("1", "3"):
        assert "search.curve is 1" in (directory / name / "error.txt").read_text()
    assert outcome(directory / "0") == outcome(whole / "0")
    assert outcome(directory / "2") == outcome(whole / "1")
    (session,) = json.loads((directory / "0" / "provenance.json").read_text())["sessions"]
    assert session["command"] == shown_command(sys.orig_argv)  # and not that of a worker
    assert yaml.safe_load((directory / "sweep.yaml").read_text())["settings"] == {"n_jobs": 2}


def test_submitit_starts_processes_of_its_own(whole, tmp_path):
    directory = tmp_path / "sweep"
    cli.main(evolve(directory, "seed=0,1", "hydra/launcher=submitit_local"))
    assert [outcome(directory / str(job)) for job in (0, 1)] == [
        outcome(whole / str(job)) for job in (0, 1)
    ]
    assert list((directory / ".submitit").glob("*/*_0_result.pkl"))


def test_a_launcher_that_is_not_there_leaves_a_sweep_to_resume(whole, tmp_path):
    directory = tmp_path / "sweep"
    words = evolve(directory, "seed=0,1,2,3", "hydra/launcher=submitit_slurm")
    alone = environment(PATH=str(tmp_path))
    done = subprocess.run(
        [*COMMAND, *words], env=alone, stderr=subprocess.PIPE, text=True, timeout=120
    )
    assert done.returncode == 2
    assert "4 not begun; the launcher submitit_slurm stopped with" in done.stderr
    cli.main(["resume", str(directory), "hydra/launcher=basic"])
    assert outcome(directory / "3") == outcome(whole / "3")


def test_a_resume_uses_the_sweeps_launcher_or_another_one(half, monkeypatch):
    used = []

    def launch(launcher, name, directory, task, jobs):
        used.append((launcher.name, dict(launcher.settings), list(jobs)))
        return [None for _ in jobs]

    monkeypatch.setattr(running, "launch", launch)
    account = yaml.safe_load((half / "sweep.yaml").read_text())
    account |= {"launcher": "joblib", "settings": {"n_jobs": 2}}
    (half / "sweep.yaml").write_text(yaml.safe_dump(account))
    for more in (
        [],
        ["hydra.launcher.n_jobs=3"],
        ["hydra/launcher=basic"],
        ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu"],
    ):
        failed(["resume", str(half), *more])
    assert used[:3] == [
        ("joblib", {"n_jobs": 2}, [1, 2, 3]),
        ("joblib", {"n_jobs": 3}, [1, 2, 3]),
        ("basic", {}, [1, 2, 3]),
    ]
    name, settings, _ = used[3]
    assert (name, settings["partition"]) == ("submitit_slurm", "gpu")
    assert Path(settings["submitit_folder"]).parent.is_dir()


def test_a_job_that_another_process_does_is_left_to_it(half, capsys):
    from evojax_merge.search.lock import locked

    with locked(half / "2"):
        failed(["resume", str(half)])
    printed = capsys.readouterr()
    assert f"by process {os.getpid()} on" in " ".join(printed.out.replace("│", " ").split())
    assert "3 done, 1 running" in printed.err
    cli.main(["resume", str(half)])
    assert (half / "2" / "finished").exists()


def begun(directory: Path) -> int:
    return len(list(directory.glob("*/history.jsonl")))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_of_joblib_whose_processes_end_is_resumed(whole, tmp_path, number):
    directory = tmp_path / "sweep"
    joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    process = subprocess.Popen(
        [*COMMAND, *evolve(directory, "seed=0,1,2,3", *joblib)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    while begun(directory) < 2 and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, number)
    process.communicate(timeout=120)
    assert process.returncode in (-signal.SIGKILL, 130)
    assert not all((directory / str(job) / "finished").exists() for job in JOBS)
    done = subprocess.run(
        [*COMMAND, "resume", str(directory)], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for job in JOBS:
        assert outcome(directory / str(job)) == outcome(whole / str(job))


@pytest.mark.slow
def test_several_machines_share_a_sweep(whole, tmp_path):
    directory = tmp_path / "sweep"
    command = [*COMMAND, *evolve(directory, "seed=0,1,2,3")]
    first = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    while not (directory / "sweep.yaml").exists() and first.poll() is None:
        time.sleep(0.02)
    second = subprocess.run(
        [*COMMAND, "resume", str(directory)], env=environment(), capture_output=True, text=True
    )
    out, _ = first.communicate(timeout=300)
    assert {first.returncode, second.returncode} <= {0, 2}  # whoever ends last sees all done
    assert 0 in (first.returncode, second.returncode)
    lines = [line for line in (out + second.stdout).splitlines() if "exported to" in line]
    assert len(lines) == len(set(lines)) == 4
    for job in JOBS:
        assert outcome(directory / str(job)) == outcome(whole / str(job))


@pytest.mark.slow  # what changes before: test_folder.py
def test_a_sweep_goes_on_with_a_larger_budget(tmp_path, capsys):
    cli.main(evolve(tmp_path / "larger", "seed=0", "search.evaluations=16"))
    cli.main(evolve(tmp_path / "grown", "seed=0,1"))
    cli.main(["resume", str(tmp_path / "grown"), "search.evaluations=16"])
    assert "search.evaluations 16 (was 12)" in capsys.readouterr().out
    for job in ("0", "1"):
        assert len((tmp_path / "grown" / job / "history.jsonl").read_text().splitlines()) == 16
        assert (tmp_path / "grown" / job / "finished").exists()
    assert outcome(tmp_path / "grown" / "0") == outcome(tmp_path / "larger" / "0")
    rows = (tmp_path / "grown" / "results.csv").read_text()
    assert ",539,16," in rows  # items and evaluations
