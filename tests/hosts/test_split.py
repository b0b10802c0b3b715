"""Models that are split over two processes give the history, recipe and export of one process."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import sklearn.datasets

from tests.processes import environment

LONGEST = 400.0

FEW = ["strategy.population_size=4", "baselines.random_search=false"]
DIGITS = ["+experiment=digits_halves", "search.evaluations=8", *FEW]
QUICKSTART = [
    "+experiment=quickstart",
    "search.evaluations=8",
    "fitness.limit=8",
    "baselines.published=false",
    *FEW,
]


def run(folder, overrides, processes):
    """Run one command in so many processes; what each has printed last."""
    told = []
    if processes > 1:
        with socket.create_server(("", 0)) as server:
            port = server.getsockname()[1]
        told = [f"distributed.coordinator=localhost:{port}", f"distributed.processes={processes}"]
    began = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.hosts.split", str(folder), *overrides, *told]
            + [f"distributed.process={index}"] * bool(told),
            env=environment(
                PYTHONPATH=os.pathsep.join(path for path in sys.path if path),
                XDG_CACHE_HOME=str(folder.parent / f"cache-{folder.name}"),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(processes)
    ]
    said = [process.communicate(timeout=LONGEST)[0] for process in began]
    assert [process.returncode for process in began] == [0] * processes, "\n".join(said)
    return [json.loads(text.splitlines()[-1]) for text in said]


def rows(folder):
    lines = (folder / "history.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def check_same(run, whole):
    assert rows(run) == rows(whole)
    assert (run / "recipe.yaml").read_bytes() == (whole / "recipe.yaml").read_bytes()
    names = sorted(path.name for path in (whole / "export").iterdir())
    assert sorted(path.name for path in (run / "export").iterdir()) == names
    for name in ["model.safetensors", "config.json"]:
        assert (run / "export" / name).read_bytes() == (whole / "export" / name).read_bytes()


def check_split(folder, overrides, parts=(1, 2)):
    """Compare runs of two processes with one of one process."""
    run(folder / "whole", overrides, 1)
    for model in parts:
        told = run(folder / f"split{model}", [*overrides, f"mesh.model={model}"], 2)
        assert told[0] == told[1]
        apart, leaves = told[0]
        assert leaves
        assert (apart > 0) == (model > 1), told
        check_same(folder / f"split{model}", folder / "whole")


@pytest.mark.slow
def test_a_winner_that_two_processes_hold_in_parts_is_exported(tmp_path):
    check_split(tmp_path, [*DIGITS, "baselines.published=false"], parts=(2,))


@pytest.mark.slow
@pytest.mark.parametrize("operator", ["task_arithmetic", "ties", "della"])
def test_generation(tmp_path, operator):
    check_split(tmp_path, [*QUICKSTART, f"operator={operator}", "space.groups=null"])


@pytest.mark.slow
@pytest.mark.parametrize(("operator", "parts"), [("fisher", (1,)), ("regmean", (1, 2))])
def test_evidence(tmp_path, operator, parts):
    """Fisher evidence of a split model is rounded otherwise, as docs/pods.md says."""
    digits = sklearn.datasets.load_digits()
    inputs = (digits.data[:64] / 16).astype(np.float32)
    np.savez(tmp_path / "digits.npz", inputs=inputs, label=digits.target[:64])
    own = [f"operator={operator}", f"operator.data={tmp_path / 'digits.npz'}"]
    check_split(tmp_path, [*DIGITS, "baselines.published=false", *own], parts)


@pytest.mark.slow
def test_paths(tmp_path):
    """The plain model of a path is made whole on each host."""
    own = ["+experiment=spaces_dataflow", "search.evaluations=8", "space.max_hops=8", *FEW]
    own.append("fitness.limit=8")
    run(tmp_path / "whole", own, 1)
    for model in (1, 2):
        run(tmp_path / f"split{model}", [*own, f"mesh.model={model}"], 2)
        check_same(tmp_path / f"split{model}", tmp_path / "whole")


@pytest.mark.slow
def test_weights_as_genes(tmp_path):
    own = ["+experiment=digits_m2n2", "search.evaluations=16", *FEW, "baselines.published=false"]
    run(tmp_path / "whole", own, 1)
    run(tmp_path / "split", [*own, "mesh.model=2"], 2)
    check_same(tmp_path / "split", tmp_path / "whole")
