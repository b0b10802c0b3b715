"""What ``show`` says of a run and of a sweep, while it goes on and afterwards."""

import json
from pathlib import Path

import pytest

from evojax_merge import api
from evojax_merge.cli import main
from evojax_merge.recipes.path import load_recipe
from evojax_merge.report.course import Course, Listener

DIGITS = [
    "+experiment=digits_halves",
    "search.evaluations=16",
    "strategy.population_size=8",
    "baselines.published=false",
    "baselines.random_search=false",
    "export=false",
]


class Look:
    """Looks at a run after its first generation, and then ends it."""

    def __init__(self, capsys) -> None:
        self._capsys = capsys
        self.shown, self.told = "", None

    def __call__(self, generation) -> None:
        self.told = generation
        self.shown = shown(generation.directory, self._capsys)
        self.best = load_recipe(generation.directory / "best.yaml")
        raise KeyboardInterrupt


class Steps(Listener):
    """Notes the steps that were planned, and those that began."""

    def on_begin(self, course: Course) -> None:
        self.planned = [step.name for step in course.steps]
        self.begun: list[str] = []

    def on_step(self, course: Course) -> None:
        self.begun.append(course.step.name)


def shown(directory: Path, capsys) -> str:
    capsys.readouterr()
    main(["show", str(directory)])
    return capsys.readouterr().out


def files(directory: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in directory.rglob("*")}


@pytest.mark.slow
def test_a_run_is_shown_while_it_goes_on_when_it_stopped_and_when_it_is_done(tmp_path, capsys):
    run, look = tmp_path / "run", Look(capsys)
    with pytest.raises(KeyboardInterrupt):
        api.evolve(DIGITS, run, callbacks=[look])
    assert "running (by process" in look.shown
    assert "generation 1/2" in look.shown
    assert "s left" in look.shown
    assert f"evojax-merge apply {run / 'best.yaml'}" in look.shown
    assert "resume" not in look.shown
    assert "│ low" in look.shown  # the coefficients of the best so far
    assert look.best.to_yaml() == look.told.recipe().to_yaml()
    best = look.told.best
    before = files(run)
    text = shown(run, capsys)
    assert "interrupted (stopped by KeyboardInterrupt" in text
    assert f"evojax-merge resume {run}" in text
    assert files(run) == before  # it reads alone
    with pytest.raises(SystemExit):
        main(["apply", str(run), "--out", str(tmp_path / "out")])
    assert f"the best so far is {run / 'best.yaml'}" in capsys.readouterr().err
    heard, steps = [], Steps()
    tell = lambda told: heard.append((told.number, told.best))  # noqa: E731
    done = api.resume(run, callbacks=[tell, steps])
    assert steps.begun == steps.planned
    assert "comparing" in steps.begun
    assert [number for number, _ in heard] == [2]
    assert heard[0][1] >= best
    assert not (run / "best.yaml").exists()
    text = shown(run, capsys)
    assert "finished" in text
    assert f"{100 * done.result.score:.1f}" in text
    assert f"evojax-merge evaluate {run}" in text
    log = (run / "run.log").read_text()
    assert log.count("evojax-merge 0") == 2  # each process says who it is
    assert "KeyboardInterrupt" in log
    assert "│ evolved" in log


def test_a_run_of_an_earlier_version_is_shown_by_its_history(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("name: old\n")
    row = {
        "search": "evolved", "generation": 0, "candidate": 0, "fitness": 0.5, "genotype": [0.0],
        "items": [0.5], "item_evaluations": 1, "seconds": 0.1,
    }  # fmt: skip
    (tmp_path / "history.jsonl").write_text(json.dumps(row) + "\n")
    text = shown(tmp_path, capsys)
    assert "interrupted" in text
    assert "evolved: best so far 0.5, after generation 1 and 1 candidates" in text


def test_a_sweep_is_shown_job_by_job(tmp_path, capsys):
    for job, seed in (("0", 0), ("1", 1)):
        (tmp_path / job).mkdir()
        (tmp_path / job / "overrides.yaml").write_text(f"[a=1, seed={seed}]")
        (tmp_path / job / "config.yaml").write_text("name: a\n")
    (tmp_path / "0" / "finished").touch()
    sweep = "jobs: ['0', '1']\nlauncher: basic\nsettings: {}\ngpu_each: false\n"
    (tmp_path / "sweep.yaml").write_text(sweep)
    text = shown(tmp_path, capsys)
    assert "a sweep of 2 jobs, 1 done, 1 not begun" in text
    assert "seed=1" in text
    assert f"evojax-merge resume {tmp_path}" in text


def test_what_is_no_run_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["show", str(tmp_path)])
    assert ended.value.code == 2
    assert "holds neither a run" in capsys.readouterr().err


def test_a_directory_that_is_not_there_is_called_so(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["show", str(tmp_path / "nowhere")])
    assert "nowhere: no such directory" in capsys.readouterr().err


def test_commands_of_a_run_with_code_of_ones_own_say_that_it_is_trusted(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text(
        "fitness: {_target_: evojax_merge.fitness.GenerationTask}\n"
    )
    assert "--trust-config" not in shown(tmp_path, capsys)
    (tmp_path / "config.yaml").write_text("fitness: {_target_: mine.Task}\n")
    assert f"evojax-merge resume {tmp_path} --trust-config " in shown(tmp_path, capsys)


def test_a_winner_on_the_items_that_chose_it_is_called_so(tmp_path, capsys):
    api.evolve([*DIGITS, "search.evaluations=8"], tmp_path / "run")
    capsys.readouterr()
    main(["evaluate", str(tmp_path / "run")])
    assert "chosen by results on these very items" in capsys.readouterr().out
    main(["evaluate", str(tmp_path / "run"), "--split", "test"])
    assert "chosen by results" not in capsys.readouterr().out
    with pytest.raises(SystemExit):  # the recipe of the run is read, which is of no transformer
        main(["convert", str(tmp_path / "run"), "--out", str(tmp_path / "merge.yml")])
    assert "is of the family mlp" in capsys.readouterr().err
