"""What a run and a measurement report is what the search went by, of the items that they say."""

import csv
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from evojax_merge import evolve
from evojax_merge.cli import main
from evojax_merge.config import ConfigError, build_task, compose
from evojax_merge.documents.bundled import experiments_directory
from evojax_merge.fitness import load_digits
from evojax_merge.report.front import Front
from evojax_merge.report.results import Result, save_results
from evojax_merge.report.sweep import sweep_table
from evojax_merge.report.sweep_rows import collect, write_table
from evojax_merge.search.history import read_history
from tests.fitness.tasks import LOG_LIKELIHOOD, Counted, several

WEIGHTS = {"few": 0.9, "many": 0.1}
BESIDE = "baselines.random_search=true"
TWO = [
    "fitness=several",
    "+fitness@fitness.tasks.few=digits",
    "+fitness@fitness.tasks.many=digits",
    "fitness.tasks.few.classes=[0,1]",
    "fitness.tasks.many.classes=[2,3,4,5,6,7,8,9]",
    "fitness.weights={few: 0.9, many: 0.1}",
]


def printed_on(console):
    """All words, whatever the lines."""
    return " ".join(console.file.getvalue().split())


@pytest.fixture(scope="module")
def front_run(tmp_path_factory):
    """A search for two tasks of different sizes, and what it printed."""
    folder = tmp_path_factory.mktemp("front") / "run"
    console = Console(width=160, file=io.StringIO())
    overrides = [
        "+experiment=digits_halves",
        *TWO,
        BESIDE,
        "strategy=nsga2",
        "search.evaluations=64",
    ]
    run = evolve([*overrides, "strategy.population_size=16", "export=false"], folder, console)
    return run, printed_on(console)


@pytest.mark.slow
def test_every_row_is_the_weighted_sum_of_its_tasks(front_run):
    run, _ = front_run
    rows = json.loads((run.directory / "results.json").read_text())
    names = [row["name"] for row in rows if row["split"] == "test"]
    assert names[:6] == ["base", "low", "high", "average", "task_arithmetic", "ties"]
    assert names[6:8] == ["random_search", "evolved"]
    assert names[8:] == [f"front {n}" for n in range(len(names) - 8)]
    assert names[8:]
    for row in rows:
        tasks = row["tasks"]
        assert {name: task["weight"] for name, task in tasks.items()} == WEIGHTS
        total = sum(WEIGHTS[name] * task["score"] for name, task in tasks.items())
        assert row["score"] == pytest.approx(total)
        assert row["low"] < row["score"] < row["high"]
        assert row["items"] == sum(task["items"] for task in tasks.values())
        assert tasks["few"]["items"] < tasks["many"]["items"]
        for task in tasks.values():
            assert task["low"] <= task["score"] <= task["high"]
            assert (task["measure"], task["unit"]) == ("accuracy", "fraction")
        assert row["chosen_on_these_items"] == (row["split"] != "test")


def test_the_winner_scores_what_the_history_says(front_run):
    run, _ = front_run
    (final,) = [r for r in run.results if (r.name, r.split) == ("evolved", "search")]
    rows = list(read_history(run.directory / "history.jsonl"))
    means = [task.score for task in final.tasks.values()]
    assert any(
        row["fitness"] == pytest.approx(final.score) and row["objectives"] == pytest.approx(means)
        for row in rows
    )


def test_members_of_the_front_are_chosen_by_validation_items_and_reported_on_test(front_run):
    run, printed = front_run
    front = Front.load(run.directory)
    assert front.split == "validation"
    for index, member in enumerate(front.members):
        (row,) = [r for r in run.results if r.name == f"front {index}"]
        assert member.scores["test"] == pytest.approx(
            {name: task.score for name, task in row.tasks.items()}
        )
    assert "front: fitness = 0.9 × accuracy (few) + 0.1 × accuracy (many)" in printed
    assert "few: accuracy, %" in printed
    assert "fitness, %: best" in printed


@pytest.fixture
def one_file(tmp_path):
    """The digits that drive a search, in a file."""
    digits = load_digits()["search"]
    np.savez(tmp_path / "data.npz", inputs=digits.inputs, label=digits.labels)
    return f"fitness.data={tmp_path / 'data.npz'}"


def searched(folder, *overrides):
    console = Console(width=160, file=io.StringIO())
    chosen = [
        "+experiment=digits_halves",
        "fitness=classification",
        BESIDE,
        "search.evaluations=16",
    ]
    run = evolve([*chosen, "export=false", *overrides], folder, console)
    return run, printed_on(console)


def test_with_one_file_the_winner_is_said_to_be_chosen_by_it(one_file, tmp_path):
    run, printed = searched(tmp_path / "run", one_file)
    chosen = {result.name: result.chosen_on_these_items for result in run.results}
    assert {name for name, flag in chosen.items() if flag} == {"evolved", "random_search"}
    assert "539 items of the search split, the items that the search chose by" in printed
    assert "random_search, evolved: chosen by results on these very items" in printed
    assert "fitness.split=[0.6,0.2,0.2]" in printed


@pytest.mark.slow
def test_one_file_can_be_divided(one_file, tmp_path):
    run, printed = searched(tmp_path / "run", one_file, "fitness.split=[0.6,0.2,0.2]")
    found = {result.split: result.items for result in run.results if result.name == "evolved"}
    assert found == {"search": 323, "validation": 108, "test": 108}
    assert run.result.split == "test"
    assert "108 items of the test split" in printed
    assert "chosen by results" not in printed


def test_evaluate_reports_the_fitness_and_every_task(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "160")
    base = f"{experiments_directory()}/digits/sources/low"
    main(["evaluate", base, *TWO, "--split", "test", "--out", str(tmp_path / "scores")])
    (row,) = json.loads((tmp_path / "scores" / "results.json").read_text())
    total = sum(WEIGHTS[name] * task["score"] for name, task in row["tasks"].items())
    assert row["score"] == pytest.approx(total)
    printed = capsys.readouterr().out
    assert "fitness = 0.9 × accuracy (few) + 0.1 × accuracy (many)" in printed
    assert "many: accuracy, %" in printed


def test_a_sweep_over_different_measures_mixes_none(tmp_path):
    both = several({"a": 1, "b": 0.5}, a=Counted(4), b=Counted(2, LOG_LIKELIHOOD))
    right, texts = np.array([1.0, 0, 1, 1]), np.array([-1.0, -3])
    runs = [
        Result.of("evolved", Counted(4, split="search"), right, chosen_on_these_items=True),
        Result.of("evolved", Counted(2, LOG_LIKELIHOOD), texts),
        Result.of("evolved", both, np.r_[right, texts]),
    ]
    for number, result in enumerate(runs):
        (tmp_path / str(number)).mkdir()
        save_results([result], tmp_path / str(number) / "results.json")
    rows = collect(tmp_path, [str(number) for number in range(len(runs))])
    console = Console(width=200, file=io.StringIO())
    console.print(sweep_table(rows))
    printed = printed_on(console)
    for part in (
        "accuracy, %",
        "log-likelihood, nats per token",
        "fitness, weighted sum",
        "a: accuracy, %",
        "4, search, chosen by them",
        "75.0",
        "-0.25",
    ):
        assert part in printed, part
    write_table(rows, tmp_path / "results.csv")
    with (tmp_path / "results.csv").open() as file:
        found = list(csv.DictReader(file))
    assert [row["measure"] for row in found[:2]] == ["accuracy", "log-likelihood"]
    assert [row["unit"] for row in found] == ["fraction", "nats per token", "weighted sum"]
    assert (found[2]["a.score"], found[2]["b.score"], found[0]["a.score"]) == ("0.75", "-2.0", "")


def test_a_task_that_does_not_say_what_it_measures_is_refused():
    config = compose(["fitness=digits", "model.sources=[a]"])
    config.fitness = {"_target_": f"{__name__}.unmeasured"}
    with pytest.raises(ValueError, match=r"fitness: a SimpleNamespace is no fitness task.*measure"):
        build_task(config)


def unmeasured():
    return SimpleNamespace(name="own", current_split="search", splits=("search",))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fitness.split=[0.9,0.2]", "add up to 1.1"),
        ("fitness.split=0.5", "give shares"),
        ("fitness.split_seed=1", "there is no split"),
        ("fitness.splt=[1]", "fitness.split"),
    ],
)
def test_a_division_that_makes_no_sense_is_refused_before_weights_are_read(
    override, message, one_file, tmp_path
):
    with pytest.raises((ValueError, ConfigError), match=message):
        searched(tmp_path / "run", one_file, override)
