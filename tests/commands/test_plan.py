"""The command line of ``plan``, and its errors."""

import importlib.util
import json
import subprocess
import sys

import pytest

from evojax_merge.cli import main
from evojax_merge.costs import topologies
from tests.planning.shapes import write_configs
from tests.processes import environment


def test_a_plan_is_printed_and_written(tmp_path, capsys):
    file = tmp_path / "plan.json"
    main(["plan", "--json", str(file), "+experiment=digits_halves"])
    shown = capsys.readouterr().out
    assert "everything fits" in shown
    assert "mesh: pop 1 × model 1" in shown
    plan = json.loads(file.read_text(encoding="utf-8"))
    assert plan["fits"]
    assert plan["searches"][0]["programs"][0]["name"] == "merge"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--topology", "v9:4"], "there is no such machine; give a name as one of these: local"),
        (["model.sorces=[a]"], "model.sorces"),
        (["fitness=generation"], "give a value for model.sources"),
        (["model.sources=[nowhere]", "operator=linear"], "nowhere: no such directory"),
    ],
)
def test_errors_are_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["plan", *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_machine_whose_compiler_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(topologies, "_is_there", lambda module: False)
    with pytest.raises(SystemExit):
        main(["plan", "--topology", "h100:8", "+experiment=digits_halves"])
    assert "pip install 'evojax-merge[cuda-plan]'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("topology", "module", "model"),
    [("v5e:2x2", "libtpu", 2), ("v5p:2x2x1", "libtpu", 1), ("h100:2", "jax_cuda12_plugin", 1)],
)
def test_machines_that_are_not_there(topology, module, model, tmp_path):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    file = tmp_path / "plan.json"
    models = write_configs(tmp_path, hidden_size=128, head_dim=64)
    command = ["plan", "--topology", topology, "--json", str(file), "--items", "8", *models]
    command += [f"mesh.model={model}", "fitness.max_new_tokens=8", "search.evaluations=16"]
    subprocess.run(
        [sys.executable, "-m", "evojax_merge", *command], check=True, env=environment(), timeout=600
    )
    plan = json.loads(file.read_text(encoding="utf-8"))
    assert plan["fits"]
    (search,) = plan["searches"]
    assert search["model"] == model
    merge, run = search["programs"]
    assert merge["moved"] > 0
    assert run["steps"] == 7
    assert bool(run["collectives"]) == (model > 1)
