"""How the jobs of a sweep are started."""

import pytest

from evojax_merge.config import ConfigError
from evojax_merge.config.launchers import Launcher, given_launcher, launch
from evojax_merge.config.sweeping import plan_sweep

DIGITS = ["+experiment=digits_halves", "seed=0,1"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], Launcher()),
        (["hydra/launcher=joblib"], Launcher("joblib")),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=-1"], Launcher("joblib")),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], Launcher("joblib", {"n_jobs": 2})),
        (
            ["hydra/launcher=submitit_slurm", "hydra.launcher.setup=[a, b]"],
            Launcher("submitit_slurm", {"setup": ["a", "b"]}),
        ),
        (
            ["hydra/launcher=submitit_slurm", "hydra.launcher.comment='${name}'"],
            Launcher("submitit_slurm", {"comment": "digits_halves"}),
        ),
    ],
)
def test_what_differs_from_the_defaults_is_kept(overrides, expected):
    assert plan_sweep([*DIGITS, *overrides]).launcher == expected


def test_a_launcher_of_a_file_is_known_by_what_it_starts(tmp_path):
    (tmp_path / "hydra" / "launcher").mkdir(parents=True)
    file = tmp_path / "hydra" / "launcher" / "mine.yaml"
    file.write_text("defaults: [submitit_slurm]\npartition: long\n")
    launcher = plan_sweep([*DIGITS, "hydra/launcher=mine"], tmp_path).launcher
    assert launcher == Launcher("submitit_slurm", {"partition": "long"})


def test_a_package_that_is_missing_is_named():
    with pytest.raises(ConfigError, match="not installed; pip install hydra-rq-launcher"):
        given_launcher(["hydra/launcher=rq"])
    with pytest.raises(ConfigError, match="there is no option hydra/launcher=jobs"):
        given_launcher(["hydra/launcher=jobs"])


def test_settings_that_do_not_exist_are_refused():
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.jobs"):
        given_launcher(["hydra/launcher=joblib", "hydra.launcher.jobs=2"])
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.jobs"):
        launch(Launcher("joblib", {"jobs": 2}), "test", ".", lambda config: None, [0])


def test_jobs_are_done_by_their_numbers_and_tell_what_went_wrong(tmp_path):
    done = []

    def task(config):
        done.append(config.job)
        if config.job == 4:
            raise OSError("the disk is full")
        return "stopped" if config.job == 7 else None

    told = launch(Launcher(), "test", str(tmp_path), task, [1, 4, 7])
    assert done == [1, 4, 7]
    assert told == [None, "OSError: the disk is full", "stopped"]
