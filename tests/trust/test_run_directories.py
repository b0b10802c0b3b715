"""A run directory from a stranger runs no code, and cannot allow itself to."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from evojax_merge import api, cli
from evojax_merge.config import ConfigError, compose, load_config_file, resolved_yaml
from evojax_merge.config.trust import GROUPS, public_factories
from evojax_merge.operators.statistics.cache import StatisticsCache

SMALL = [
    "+experiment=digits_halves",
    "search.evaluations=8",
    "strategy.population_size=4",
    "baselines.random_search=false",
    "baselines.published=false",
]
PICKLED = {
    "_target_": "evosax.algorithms.LearnedES",
    "population_size": 4,
    "solution": [0.0],
    "params_path": "bomb.pkl",
}
JUDGE = {"_target_": "evojax_merge.fitness.ChatJudge", "url": "http://strange/v1", "model": "x"}
FOREIGN = """
from pathlib import Path
from evojax_merge.fitness import digits_task
from evojax_merge.measuring.mesh import make_mesh

Path(__file__).with_name("imported").touch()

def task(**given):
    return digits_task(**given)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("run") / "run"
    api.evolve(SMALL, directory)
    return directory


@pytest.fixture
def run(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture
def foreign(tmp_path, monkeypatch) -> Path:
    (tmp_path / "strangers_task.py").write_text(FOREIGN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "imported"
    sys.modules.pop("strangers_task", None)


def change(run: Path, edit) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    edit(config)
    (run / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    "edit",
    [
        lambda config: config.update(mesh={"_target_": "numpy.load", "file": "x"}),
        lambda config: config["fitness"].update(_target_="strangers_task.task"),
        lambda config: config["fitness"].update(extra=[{"a": {"_target_": "os.system"}}]),
        lambda config: config["operator"].update(_target_="evojax_merge.operators.base.np.load"),
        lambda config: config["operator"].update(_target_="hydra.utils.get_method", path="os.exit"),
        lambda config: config["strategy"].update(_target_="evojax_merge.api.load"),
        lambda config: config.update(name={"_target_": "evojax_merge.fitness.digits_task"}),
        lambda config: config.update(mesh={"_target_": "evosax.algorithms.LearnedES"}),
        lambda config: config["strategy"].update(algorithm=PICKLED),
        lambda config: config["strategy"].update(algorithm={"options": [PICKLED]}),
        lambda config: config["fitness"].update(function="strangers_task.task"),
        lambda config: config["fitness"].update(tasks={"a": {"function": "strangers_task.task"}}),
        lambda config: config["fitness"].update(include_path="tasks"),
        lambda config: config["fitness"].update(tasks={"a": {"confirm_run_unsafe_code": True}}),
        lambda config: config["fitness"].update(run_code=True),
        lambda config: config["fitness"].update(judge=JUDGE),
        lambda config: config["fitness"].update(tasks={"a": {"judge": JUDGE}}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["resume", "evaluate"])
def test_other_factories_are_not_run(run, foreign, capsys, edit, command):
    change(run, edit)
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, str(run)])
    assert stopped.value.code == 2
    assert "names code that is no part of this package" in capsys.readouterr().err
    assert not foreign.exists()


@pytest.mark.parametrize("escapes", ["", "\\", "\\\\\\"])
@pytest.mark.parametrize(
    ("group", "key"),
    [("space", "coefficients"), ("strategy", "strategy_params"), ("fitness", "name")],
)
def test_nothing_is_looked_up_in_a_part_that_is_made(run, group, key, escapes, monkeypatch):
    monkeypatch.chdir(run)
    made = f"{escapes}${{oc.create:{{_target_: numpy.savetxt, fname: canary, X: [1]}}}}"
    given = yaml.safe_load((run / "config.yaml").read_text())
    given[group][key] = made if key == "name" else {"weight": made}
    (run / "config.yaml").write_text(yaml.safe_dump(given))
    with pytest.raises(ConfigError, match=rf"{group}\.{key}.* would be looked up"):
        api.resume(run)
    assert not (run / "canary").exists()


def test_what_is_trusted_is_listed_and_run(run, foreign, capsys):
    change(run, lambda config: config["fitness"].update(_target_="strangers_task.task"))
    for command in ("resume", "evaluate"):
        cli.main([command, str(run), "--trust-config"])
        assert "imports and runs strangers_task.task" in capsys.readouterr().out
    assert foreign.exists()


def test_a_run_is_evaluated_by_its_own_measure(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cli.main(["evaluate", str(run), "--split", "test", "--out", "measured"])
    (own,) = json.loads((tmp_path / "measured" / "results.json").read_text())
    results = json.loads((run / "results.json").read_text())
    evolved = next(row for row in results if row["name"] == "evolved")
    assert own["score"] == evolved["score"]


def test_interpolations_of_a_file_are_texts(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "secret")
    config = compose([*SMALL, "name=x"])
    config.name = "${oc.env:SECRET}"
    text = resolved_yaml(config).replace("name: secret", "name: a\\${oc.env:SECRET}${b")
    (tmp_path / "config.yaml").write_text(text)
    loaded = load_config_file(tmp_path / "config.yaml")
    assert loaded.name == "a\\${oc.env:SECRET}${b"
    assert "a\\${oc.env:SECRET}${b" in resolved_yaml(loaded)


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "a: 1\na: 2", "!!python/name:os.system x"])
def test_no_configuration_is_one_error(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yaml: is no"):
        load_config_file(tmp_path / "config.yaml")


def test_no_public_factory_calls_what_it_is_told_to():
    for group in GROUPS:
        names = public_factories(group)
        assert names
        assert all(name.startswith(("evojax_merge.", "evosax.", "optax.")) for name in names)


def test_a_cache_in_a_strangers_place_removes_no_weights(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    cache = StatisticsCache(tmp_path, 1e-9)
    cache.entry("ties", ["a"], {}).write({})
    assert (tmp_path / "model.safetensors").exists()


def test_a_run_that_could_not_be_resumed_is_not_begun(tmp_path):
    """A text with ``${`` would be looked up, which a run's configuration forbids."""
    config = compose([*SMALL, "fitness.name='\\${x}'"])
    with pytest.raises(ConfigError, match=r"fitness\.name is '\$\{x\}', which would be looked up"):
        api.evolve(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["recipe.yaml", "plots", "checkpoints/evolved", "export"])
def test_nothing_is_written_through_a_link(run, tmp_path, name, capsys):
    outside = tmp_path / "outside"
    (run / name).rename(outside)
    (run / name).symlink_to(outside)
    with pytest.raises(SystemExit):
        cli.main(["resume", str(run)])
    assert f"{name}: leads out of the run's directory" in capsys.readouterr().err
    if name != "export":  # whose place only a directory can take
        cli.main(["resume", str(run), "--trust-config"])


def test_a_run_behind_a_link_is_resumed(run, tmp_path):
    (tmp_path / "latest").symlink_to(run)
    (run / "best.yaml").symlink_to("recipe.yaml")
    api.resume(tmp_path / "latest")


@pytest.mark.parametrize("name", ["history.jsonl", "results.json", "checkpoints/evolved/pipe"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(run, name):
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    with pytest.raises(ValueError, match="no regular file"):
        api.resume(run)
