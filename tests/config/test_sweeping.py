"""The jobs of a sweep, composed before the first one starts."""

import pytest
import yaml

from evojax_merge.config import ConfigError, check_sweep
from evojax_merge.config.sweeping import plan_sweep


def test_every_combination_is_a_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = plan_sweep(["+experiment=digits_halves", "seed=range(2)", "strategy=cma_es,snes"])
    assert [job.folder for job in plan.jobs] == ["0", "1", "2", "3"]
    assert plan.jobs[2].overrides == ["+experiment=digits_halves", "seed=1", "strategy=cma_es"]
    configs = [yaml.safe_load(job.config) for job in plan.jobs]
    assert [config["seed"] for config in configs] == [0, 0, 1, 1]
    assert {config["working_directory"] for config in configs} == {str(tmp_path)}
    assert plan.directory.parts[:2] == ("runs", "digits_halves")
    assert not list(tmp_path.iterdir())


def test_a_job_knows_its_number_and_its_folder_may_tell_what_it_is():
    plan = plan_sweep(
        [
            "+experiment=digits_halves",
            "strategy=cma_es,snes",
            "name='job_${hydra:job.num}'",
            "hydra.sweep.subdir=${hydra.job.override_dirname}",
            "hydra.sweep.dir=here",
        ]
    )
    assert [yaml.safe_load(job.config)["name"] for job in plan.jobs] == [
        "job_0",
        "job_1",
    ]
    assert all("strategy=" in job.folder for job in plan.jobs)
    assert str(plan.directory) == "here"


def test_a_file_may_sweep(tmp_path):
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "mine.yaml"
    file.write_text(
        "# @package _global_\ndefaults: [digits]\nhydra: {sweeper: {params: {seed: '3,4'}}}\n"
    )
    plan = plan_sweep(["+experiment=mine"], tmp_path)
    assert [yaml.safe_load(job.config)["seed"] for job in plan.jobs] == [3, 4]


def test_mappings_with_names_of_a_users_own_are_swept():
    groups = "space.groups={all: '*'},{mine: '*'}"
    plan = plan_sweep(["+experiment=digits_halves", "space=parameter_groups", groups])
    found = [yaml.safe_load(job.config)["space"]["groups"] for job in plan.jobs]
    assert found == [{"all": "*"}, {"mine": "*"}]


@pytest.mark.parametrize("function", [check_sweep, plan_sweep])
def test_values_that_cannot_be_counted_are_refused(function):
    with pytest.raises(ConfigError, match="a sweep goes over given values"):
        function(["+experiment=digits_halves", "seed=interval(0, 1)"])


def test_two_jobs_do_not_share_a_folder():
    with pytest.raises(ConfigError, match="two jobs would have the folder all"):
        plan_sweep(["+experiment=digits_halves", "seed=0,1", "hydra.sweep.subdir=all"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+hydra.job.env_set.A=b", "set variables before the command"),
        ("+hydra.callbacks.mine._target_=mine.Callback", "is for single runs"),
    ],
)
def test_what_would_count_for_nothing_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        plan_sweep(["+experiment=digits_halves", "seed=0,1", override])
