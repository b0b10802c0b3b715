"""Searches by a measure of the user's own, which sees each candidate as a checkpoint on disk."""

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from evojax_merge import api, cli
from evojax_merge.config import ConfigError, build, compose
from evojax_merge.fitness.external.calling import MeasureError, MeasureWarning
from evojax_merge.runs.preparation import set_up
from tests.named_factory import write_models

QUICKSTART = Path(__file__).parents[2] / "experiments" / "quickstart" / "sources"
SMALL = [
    "+experiment=digits_halves",
    "fitness=external",
    "strategy.population_size=4",
    "baselines.published=false",
    "baselines.random_search=false",
]
NEAR = """
import os
from pathlib import Path
from safetensors.numpy import load_file
from helper_of_mine import TARGET

def near(directory, split, data):
    seen = Path("seen.txt")
    before = len(seen.read_text().splitlines()) if seen.exists() else 0
    with seen.open("a") as file:
        print(directory, split, data, *sorted(os.listdir(directory)), file=file)
    if before == int(os.environ.get("FAILS_AT", "-1")):
        raise RuntimeError("out of luck")
    weights = load_file(directory / "model.safetensors")
    return -abs(float(weights["fc2.weight"].std()) - TARGET)

def both(directory):
    weights = load_file(directory / "model.safetensors")["fc2.weight"]
    return {"small": -float(abs(weights).mean()), "parts": [float(weights[0].sum()), 0.5]}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "near_of_mine.py").write_text(NEAR)
    (tmp_path / "helper_of_mine.py").write_text("TARGET = 0.2\n")
    (tmp_path / "held.txt").touch()
    return tmp_path


def evolve(*more, directory="run", function="near"):
    chosen = [f"fitness.function=near_of_mine.py:{function}", "search.evaluations=4"]
    return api.evolve([*SMALL, *chosen, *more], directory)


def fitness(directory="run"):
    lines = Path(directory, "history.jsonl").read_text().splitlines()
    return [row["fitness"] for row in map(json.loads, lines)]


def test_the_measure_sees_what_is_exported_and_nothing_is_left(here, capsys):
    run = evolve("fitness.test=held.txt", "fitness.directory=candidates")
    assert not list((here / "candidates").iterdir())
    seen = [line.split() for line in (here / "seen.txt").read_text().splitlines()]
    assert [line[1] for line in seen] == ["search"] * 4 + ["test"] * 4 + ["search"]
    assert {line[2] for line in seen} == {"None", str(here / "held.txt")}
    assert {"config.json", "model.safetensors"} <= set(seen[0][3:])
    weights = load_file(here / "run" / "export" / "model.safetensors")
    expected = -abs(float(weights["fc2.weight"].std()) - 0.2)
    on_search = next(one for one in run.results if one.split == "search")
    assert on_search.score == pytest.approx(expected, rel=1e-6)
    assert max(fitness()) == pytest.approx(expected, rel=1e-6)
    cli.main(["evaluate", "run", "--trust-config"])
    assert f"{expected:.4g}" in capsys.readouterr().out


def test_a_candidate_on_which_it_fails_is_recorded_and_the_search_ends_the_same(here, monkeypatch):
    monkeypatch.setenv("FAILS_AT", "2")
    with pytest.warns(MeasureWarning, match=r"out of luck \(near_of_mine\.py, line 13, in near\)"):
        evolve("search.evaluations=8")
    whole = fitness()
    assert [place for place, one in enumerate(whole) if one is None] == [2]
    monkeypatch.setenv("FAILS_AT", "-1")
    run = here / "run"
    for name in ("results.json", "recipe.yaml"):
        (run / name).unlink()
    for folder in (run / "checkpoints" / "evolved").iterdir():
        if folder.name == "2":
            for file in sorted(folder.rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
            folder.rmdir()
    # The first candidate of what is left fails, and it is known that the measure has worked.
    monkeypatch.setenv("FAILS_AT", str(len((here / "seen.txt").read_text().splitlines())))
    with pytest.warns(MeasureWarning, match="out of luck"):
        api.resume("run", trust_config=True)
    again = fitness()
    assert [place for place, one in enumerate(again) if one is None] == [2, 4]
    assert again[:4] == whole[:4]
    assert again[5:] == whole[5:8]


def test_a_measure_that_fails_at_first_ends_the_search(here, monkeypatch):
    monkeypatch.setenv("FAILS_AT", "0")
    with pytest.raises(MeasureError, match=r"RuntimeError: out of luck .*has not worked on any"):
        evolve()


@pytest.mark.filterwarnings("ignore:.*no finite fitness")
@pytest.mark.parametrize(("at_first", "ends"), [(15, False), (16, True)])
def test_a_measure_that_gives_no_finite_number_ends_the_search(here, at_first, ends):
    Path("hopeful.py").write_text(
        "given = []\n"
        "def hopeful(directory):\n"
        "    given.append(directory)\n"
        f"    return float('nan') if len(given) <= {at_first} else 1.0\n"
    )
    chosen = [*SMALL, "fitness.function=hopeful.py:hopeful", "search.evaluations=20"]
    if not ends:
        assert api.evolve(chosen, "run").result.score == 1.0
        return
    with pytest.raises(MeasureError, match="no finite number for 16 candidates one after another"):
        api.evolve(chosen, "run")


def test_code_that_has_changed_is_told_and_takes_force(here, capsys):
    evolve()
    (here / "helper_of_mine.py").write_text("TARGET = 0.3\n")
    with pytest.raises(ConfigError, match=r"helper_of_mine\.py \(sha256 \w{12} then, \w{12} now\)"):
        api.resume("run", trust_config=True)
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "run", "--trust-config"])
    assert "has changed since the run was begun" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["resume", "run"])
    assert "names code that is no part of this package" in capsys.readouterr().err
    cli.main(["resume", "run", "--trust-config", "--force"])
    assert "imports and runs near_of_mine.py:near" in capsys.readouterr().out
    api.resume("run", trust_config=True)  # what it is by now is kept


def test_objectives_make_a_front(here):
    run = evolve(
        "fitness.objectives={small: 1, parts: 2}",
        "strategy=nsga2",
        "strategy.population_size=4",
        function="both",
    )
    front = json.loads((here / "run" / "front.json").read_text())
    assert front["tasks"] == ["small", "parts"]
    assert set(run.result.tasks) == {"small", "parts"}
    assert run.result.tasks["parts"].items == 2


def test_models_that_cannot_be_run_can_be_measured(here, tmp_path):
    base, *sources = write_models(tmp_path / "models", "gpt2")
    (here / "wte_of_mine.py").write_text(
        "from safetensors.numpy import load_file\n"
        "def wte(directory):\n"
        "    weights = load_file(directory / 'model.safetensors')\n"
        "    return float(weights['transformer.wte.weight'].mean())\n"
    )
    run = api.evolve(
        [
            f"model.base={base}",
            f"model.sources=[{','.join(map(str, sources))}]",
            "operator=task_arithmetic",
            "fitness=external",
            "fitness.function=wte_of_mine.py:wte",
            "search.evaluations=6",
            "baselines.published=false",
        ],
        "run",
    )
    mean = load_file(here / "run" / "export" / "model.safetensors")["transformer.wte.weight"].mean()
    assert run.result.score == pytest.approx(float(mean), rel=1e-6)


def test_paths_are_refused_before_weights_are_read(here):
    sources = ",".join(str(QUICKSTART / name) for name in ("change", "japanese"))
    chosen = [f"model.sources=[{sources}]", "space=dataflow", "fitness=external"]
    experiment = build(compose([*chosen, "fitness.function=near_of_mine.py:near"]))
    with pytest.raises(ValueError, match="which a path through layers is not"):
        set_up(experiment)


def test_savers_that_measure_parts_are_refused(here):
    with pytest.raises(ValueError, match=r"savers\.racing .* one number for all of them together"):
        evolve("savers.racing.enabled=true", "fitness.items=2")


def test_numbers_that_were_not_announced_end_the_search_at_the_first_candidate(here):
    with pytest.raises(
        MeasureError, match=r"gives a mapping .*fitness\.objectives=\[small,parts\]"
    ):
        evolve(function="both")
