"""submitit's way to a queue, with stand-ins for SLURM's commands."""

import os
import subprocess
import sys

import pytest

from tests.processes import environment
from tests.sweeps.small import evolve, outcome

SBATCH = r"""#!/bin/bash
last=$(grep -oP '^#SBATCH --array=\D*0-\K\d+' "$1") || last=
echo "Submitted batch job 4242"
for task in $(seq 0 "${last:-0}"); do
    export SLURM_JOB_ID=$((4242 + task)) SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0
    export SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_JOB_NODELIST=localhost
    [ -n "$last" ] && export SLURM_ARRAY_JOB_ID=4242 SLURM_ARRAY_TASK_ID=$task
    bash "$1" > /dev/null 2>&1 &
done
"""
SRUN = """#!/bin/bash
while [ "${1#-}" != "$1" ]; do
    case "$1" in --output | --error) shift ;; esac
    shift
done
exec "$@"
"""
SACCT = """#!/bin/bash
echo "JobID|State|NodeList"
"""


@pytest.fixture
def _cluster(tmp_path, monkeypatch) -> None:
    """SLURM's commands, which run the jobs of a queue at once."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def failed(arguments: list[str]) -> str:
    """What a command that fails complains of, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "evojax_merge", *arguments],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("_cluster")
def test_jobs_go_through_a_queue_and_those_that_failed_once_more(whole, tmp_path):
    directory = tmp_path / "sweep"
    slurm = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu"]
    told = failed(evolve(directory, "seed=0,1", "search.curve=0,1", *slurm))
    assert "of 4 jobs 2 done, 2 failed" in told
    assert outcome(directory / "2") == outcome(whole / "1")
    (script, *_) = (directory / ".submitit").rglob("*submission*.sh")
    assert "--partition=gpu" in script.read_text()

    (directory / "0" / "finished").unlink()
    (directory / "0" / "results.json").unlink()
    told = failed(["resume", str(directory)])
    assert "of 4 jobs 2 done, 2 failed" in told
    assert outcome(directory / "0") == outcome(whole / "0")
    assert list((directory / ".submitit").glob("resume-*/*/*_result.pkl"))
