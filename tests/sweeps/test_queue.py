"""submitit's way to a queue, with stand-ins for SLURM's commands."""

import os
from pathlib import Path

import pytest

from evojax_merge import cli
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
def cluster(tmp_path, monkeypatch) -> Path:
    """A directory in which SLURM's commands run the jobs of a queue at once."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    return folder


@pytest.mark.slow
def test_jobs_go_through_a_queue_and_those_that_failed_once_more(whole, tmp_path, cluster, capsys):
    directory = tmp_path / "sweep"
    slurm = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu"]
    with pytest.raises(SystemExit):
        cli.main(evolve(directory, "seed=0,1", "search.curve=0,1", *slurm))
    assert "of 4 jobs 2 done, 2 failed" in capsys.readouterr().err
    assert outcome(directory / "2") == outcome(whole / "1")
    (script, *_) = (directory / ".submitit").rglob("*submission*.sh")
    assert "--partition=gpu" in script.read_text()

    (directory / "0" / "finished").unlink()
    (directory / "0" / "results.json").unlink()
    with pytest.raises(SystemExit):
        cli.main(["resume", str(directory)])
    assert "of 4 jobs 2 done, 2 failed" in capsys.readouterr().err
    assert outcome(directory / "0") == outcome(whole / "0")
    assert list((directory / ".submitit").glob("resume-*/*/*_result.pkl"))
