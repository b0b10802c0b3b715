"""The folder of a sweep is data, whoever has written it."""

import os
from pathlib import Path

import pytest
import yaml

from evojax_merge import cli
from evojax_merge.config import ConfigError
from evojax_merge.config.sweeping import plan_sweep
from evojax_merge.sweeps import running
from evojax_merge.sweeps.folder import is_sweep, lay_out, read_sweep
from tests.sweeps.small import SMALL

FOREIGN = """
from pathlib import Path
from evojax_merge.fitness import digits_task

Path(__file__).with_name("imported").touch()

def task(**given):
    return digits_task(**given)
"""


@pytest.fixture
def laid_out(tmp_path) -> Path:
    overrides = [*SMALL, "seed=0,1", f"hydra.sweep.dir={tmp_path}/sweep"]
    return lay_out(plan_sweep(overrides), gpu_each=False).directory


@pytest.fixture
def launched(monkeypatch) -> list:
    """What was launched, instead of being launched."""
    found = []

    def launch(launcher, name, directory, task, jobs):
        found.append(launcher)
        return [None for _ in jobs]

    monkeypatch.setattr(running, "launch", launch)
    return found


def change(file: Path, **more) -> None:
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | more))


def refused(directory: Path, capsys, *more: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["resume", str(directory), *more])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_every_job_has_its_resolved_configuration(laid_out):
    sweep = read_sweep(laid_out)
    assert sweep.jobs == ("0", "1")
    assert is_sweep(laid_out)
    assert not is_sweep(laid_out / "0")
    for seed in (0, 1):
        config = yaml.safe_load((sweep.folder(seed) / "config.yaml").read_text())
        assert config["seed"] == seed
        assert "hydra" not in config
        overrides = yaml.safe_load((sweep.folder(seed) / "overrides.yaml").read_text())
        assert overrides == [*SMALL, f"seed={seed}"]


@pytest.mark.parametrize("name", ["../elsewhere", "/elsewhere", ".", "a/../../b", 3, "a\0b"])
def test_a_job_lies_within_the_sweep(laid_out, capsys, name):
    change(laid_out / "sweep.yaml", jobs=["0", name])
    assert "give the path of a folder within the sweep" in refused(laid_out, capsys)


@pytest.mark.parametrize("text", ["[", "jobs: 3", "jobs: []\nlauncher: basic", "a: 1"])
def test_a_damaged_list_is_one_error(laid_out, text):
    (laid_out / "sweep.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"sweep\.yaml"):
        read_sweep(laid_out)


def test_a_folder_without_a_sweep_is_refused(laid_out, tmp_path, capsys):
    (laid_out / "sweep.yaml").unlink()
    assert "no job of this sweep has begun" in refused(laid_out, capsys)
    assert "holds neither a run (config.yaml) nor a sweep" in refused(tmp_path, capsys)
    assert "holds neither" in refused(tmp_path / "nowhere", capsys)
    assert "is no sweep" in refused(tmp_path, capsys, "hydra/launcher=joblib")


def test_a_job_that_lost_its_configuration_is_named(laid_out, capsys):
    (laid_out / "1" / "config.yaml").unlink()
    assert "1/config.yaml: missing, so that this job cannot go on" in refused(laid_out, capsys)


def test_only_the_launcher_can_be_changed(laid_out, capsys):
    assert "cannot change in a run that goes on" in refused(laid_out, capsys, "seed=3")


def test_a_larger_budget_is_one_of_all_jobs(laid_out, launched, capsys):
    (laid_out / "0" / "finished").touch()
    (laid_out / "0" / "history.jsonl").touch()
    refused(laid_out, capsys, "search.evaluations=40")  # nothing is done, as nothing was launched
    assert len(launched) == 1
    assert not (laid_out / "0" / "finished").exists()
    for job in ("0", "1"):
        config = yaml.safe_load((laid_out / job / "config.yaml").read_text())
        assert config["search"]["evaluations"] == 40
        assert "search.evaluations=40" in (laid_out / job / "overrides.yaml").read_text()
    assert (laid_out / "0" / "config.1.yaml").exists()
    assert not (laid_out / "1" / "config.1.yaml").exists()  # of what has not begun


def test_a_strangers_configuration_is_not_run(laid_out, launched, tmp_path, monkeypatch, capsys):
    (tmp_path / "strangers_sweep.py").write_text(FOREIGN)
    monkeypatch.syspath_prepend(str(tmp_path))
    file = laid_out / "1" / "config.yaml"
    fitness = yaml.safe_load(file.read_text())["fitness"] | {"_target_": "strangers_sweep.task"}
    change(file, fitness=fitness)
    assert "names code that is no part of this package" in refused(laid_out, capsys)
    assert not launched
    refused(laid_out, capsys, "--trust-config")  # nothing is done, as nothing was launched
    assert len(launched) == 1
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("launcher", "settings"),
    [
        ("submitit_slurm", {"setup": ["touch canary"]}),
        ("submitit_slurm", {"additional_parameters": {"mail-user": "a"}}),
        ("submitit_slurm", {"partition": "gpu\ntouch canary"}),
        ("submitit_slurm", {"partition": ["a"]}),
        ("submitit_local", {"submitit_folder": "elsewhere/%j"}),
        ("joblib", {"pre_dispatch": "__import__('os').system('touch canary')"}),
        ("joblib", {"_target_": "strangers.Launcher"}),
        ("ray_aws", {}),
        ("strangers", {}),
    ],
)
def test_a_strangers_launcher_is_not_run(laid_out, launched, capsys, launcher, settings):
    change(laid_out / "sweep.yaml", launcher=launcher, settings=settings)
    assert "its launcher has settings that may run code" in refused(laid_out, capsys)
    assert not launched
    refused(laid_out, capsys, "hydra/launcher=basic")
    assert [one.name for one in launched] == ["basic"]


def test_amounts_and_names_need_no_trust(laid_out, launched, capsys):
    settings = {"partition": "gpu,long", "timeout_min": 600, "mem_gb": None, "nodes": 1}
    change(laid_out / "sweep.yaml", launcher="submitit_slurm", settings=settings)
    refused(laid_out, capsys)
    (launcher,) = launched
    assert settings.items() <= launcher.settings.items()
    fresh = Path(launcher.settings["submitit_folder"]).parent
    assert fresh.is_dir()
    assert not list(fresh.iterdir())


def test_nothing_leads_out_of_the_sweep(laid_out, launched, tmp_path, capsys):
    (laid_out / "results.csv").symlink_to(tmp_path / "elsewhere.csv")
    assert "leads out of the sweep's folder" in refused(laid_out, capsys)
    (laid_out / "results.csv").unlink()
    os.mkfifo(laid_out / "1" / "history.jsonl")
    assert "is no regular file" in refused(laid_out, capsys)
    assert not launched
