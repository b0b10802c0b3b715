"""A dry run measures one candidate, leaves nothing, and tells what the whole would take."""

import contextlib
from pathlib import Path

import pytest

from evojax_merge import api
from evojax_merge.cli import main
from evojax_merge.config import build, compose
from evojax_merge.report.course import GENERATION, Step
from evojax_merge.runs.preparation import set_up
from evojax_merge.runs.steps import steps_of
from evojax_merge.runs.trial import Timing

BESIDE = "baselines.random_search=true"
DIGITS = [
    "+experiment=digits_halves",
    "search.evaluations=64",
    "strategy.population_size=8",
    BESIDE,
]


def entries(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


def test_a_dry_run_names_all_steps_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr("tempfile.tempdir", None)
    with contextlib.chdir(tmp_path):
        main(["evolve", "--dry-run", *DIGITS, "hydra.run.dir=runs/mine"])
    shown = capsys.readouterr().out
    for text in ("8 generations of 8 candidates", "at most 8 merges"):
        assert text in " ".join(shown.replace("│", " ").split())
    for text in ("random_search", "exporting", "in all", "GB", "the run would be in runs/mine"):
        assert text in shown
    assert entries(tmp_path) == {str(scratch)}


def test_a_budget_that_is_rounded_up_is_said_first(capsys):
    main(["evolve", "--dry-run", *DIGITS, "search.evaluations=12"])
    first = capsys.readouterr().out.partition("1 × cpu")[0]
    assert first.startswith("dry run: ")
    assert "16 evaluations of 539 items (12 rounded up to whole generations of 8)" in first


def test_a_random_search_has_no_other_one_beside_it():
    options = [*DIGITS, "baselines.random_search=true"]
    for strategy, beside in (("cma_es", True), ("random", False)):
        setup = set_up(build(compose([*options, f"strategy={strategy}"])))
        assert ("random_search" in [step.name for step in steps_of(setup)]) == beside
        told = "the search is a random search itself, so that there is none beside it"
        assert (told in setup.describe()) != beside


def test_in_python_a_trial_has_the_numbers():
    trial = api.dry_run([*DIGITS, "baselines.random_search=false"])
    (timing,) = trial.timings
    assert (timing.name, timing.items) == ("evolved", 539)
    assert timing.seconds > 0
    assert trial.peak > 1e6
    names = [step.name for step, _ in trial.steps]
    assert names[:2] == ["reading the models", "evolved"]
    assert "random_search" not in names
    assert trial.seconds == pytest.approx(trial.compiling + sum(took for _, took in trial.steps))


def test_candidates_that_fit_together_take_the_time_of_one_turn():
    timing = Timing("evolved", together=4, items=100, compiling=5.0, seconds=2.0, unlike=0)
    assert timing.of(Step("evolved", GENERATION, 10, 80, 100, seconds=1.0)) == 10 * 2 * 2.0 + 1.0
    assert timing.of(Step("comparing", "merge", 5, 5, 50)) == 2 * 2.0 / 2  # the second is not full
    assert timing.of(Step("plots", seconds=4.0)) == 4.0


def test_a_dry_run_that_is_refused_says_that_alone(capsys):
    with pytest.raises(SystemExit):
        main(["evolve", "--dry-run", *DIGITS, "strategy=nsga2"])
    told = capsys.readouterr()
    assert not told.out
    assert len(told.err.splitlines()) == 1


@pytest.mark.parametrize("more", [["-m", "seed=0,1"], ["--cfg", "job"], ["--gpu-each"]])
def test_a_dry_run_is_of_one_run(more, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evolve", "--dry-run", *DIGITS, *more])
    assert ended.value.code == 2
    assert "--dry-run" in capsys.readouterr().err
