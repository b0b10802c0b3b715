"""What the numbers of a run are: fitness, tasks, intervals, and whether they were chosen by."""

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from evojax_merge.fitness import ACCURACY, FRACTION, Measure
from evojax_merge.report.intervals import interval, weighted_interval
from evojax_merge.report.results import (
    Result,
    choice_line,
    flaw_line,
    is_chosen_by,
    load_results,
    noise_line,
    results_table,
    save_results,
)
from tests.fitness.tasks import LOG_LIKELIHOOD, SIZE, Counted, several

RIGHT, TEXTS = np.array([1.0, 0, 0, 1, 1, 0, 1, 1]), np.array([-2.0, -3, -4])
BOTH = several({"math": 0.75, "text": 0.25}, math=Counted(8), text=Counted(3, LOG_LIKELIHOOD))


def shown(table, width=200):
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def of(task, *items, name="evolved", **options):
    return Result.of(name, task, np.concatenate(items).astype(float), **options)


def test_the_score_of_several_tasks_is_their_weighted_sum_whatever_their_numbers_of_items():
    result = of(BOTH, RIGHT, TEXTS)
    assert result.score == pytest.approx(0.75 * 5 / 8 + 0.25 * -3)
    assert result.items == 11
    math_, text = result.tasks["math"], result.tasks["text"]
    assert (math_.score, math_.items, math_.measure) == (5 / 8, 8, ACCURACY)
    assert (math_.low, math_.high) == interval(RIGHT)
    assert (text.score, text.items, text.measure) == (-3, 3, LOG_LIKELIHOOD)
    assert (text.low, text.high) == interval(TEXTS)
    assert result.measure.name == "0.75 × accuracy (math) + 0.25 × log-likelihood (text)"


def test_what_has_one_result_for_a_split_counts_no_items_and_has_no_error():
    fid = Counted(1, Measure("minus FID", "squared features", sampled=False))
    result = of(fid, np.array([-3.0]))
    assert result.counted == "the test split"
    assert noise_line([result]) == "evolved: minus FID, squared features: -3 on the test split"
    chosen = of(fid, np.array([-3.0]), chosen_on_these_items=True)
    assert noise_line([chosen]).endswith("-3 on the test split (chosen by it)")
    assert "standard error" in noise_line([of(Counted(8), RIGHT)])
    both = of(several({"math": 1, "fid": 1}, math=Counted(8), fid=fid), RIGHT, np.array([-3.0]))
    assert both.counted == "8 items of the test split (8 of math)"


def test_methods_stand_in_the_order_of_the_fitness():
    """By the mean over all items, the one with better texts would be ahead."""
    task = several({"math": 1, "text": 0.01}, math=Counted(8), text=Counted(3, LOG_LIKELIHOOD))
    better = of(task, RIGHT, TEXTS * 10)
    worse = of(task, 0 * RIGHT, TEXTS)
    assert better.score > worse.score
    assert np.mean(np.r_[RIGHT, TEXTS * 10]) < np.mean(np.r_[0 * RIGHT, TEXTS])


def test_the_interval_of_a_weighted_sum_holds_the_truth_as_often_as_it_should():
    rng = np.random.default_rng(0)
    weights, rate, mean = (0.7, 0.3), 0.15, -2.0
    truth, covered, runs = weights[0] * rate + weights[1] * mean, 0, 300
    task = several(
        dict(zip("ab", weights, strict=True)), a=Counted(80), b=Counted(40, LOG_LIKELIHOOD)
    )
    for _ in range(runs):
        right = (rng.random(80) < rate).astype(float)
        texts = mean - rng.gamma(2.0, 0.5, 40) + 1.0
        result = of(task, right, texts)
        covered += result.low <= truth <= result.high
    assert 0.91 <= covered / runs <= 0.98


def test_an_interval_by_hand_and_one_that_stands_alone():
    low, high = weighted_interval([2, 1], [0.5, -1.0], [(0.4, 0.7), (-1.3, -0.8)])
    assert low == pytest.approx(0 - math.hypot(0.2, 0.3))
    assert high == pytest.approx(0 + math.hypot(0.4, 0.2))
    ends = (0.2, 0.7)
    assert weighted_interval([1, 0], [0.5, 3.0], [ends, (math.nan, 9)]) == pytest.approx(ends)


def test_what_is_known_exactly_adds_nothing_to_an_interval():
    task = several({"math": 1, "size": 1}, math=Counted(8), size=Counted(1, SIZE))
    result = of(task, RIGHT, [-0.5])
    low, high = interval(RIGHT)
    assert (result.low, result.high) == pytest.approx((low - 0.5, high - 0.5))
    assert result.tasks["size"].low == result.tasks["size"].high == -0.5


@pytest.mark.parametrize("weights", [None, {"math": 1}])
def test_a_task_without_a_finite_result_leaves_the_fitness_without_one(weights, tmp_path):
    task = several(weights, math=Counted(8), text=Counted(3, LOG_LIKELIHOOD))
    result = of(task, RIGHT, [-1, np.nan, -2])
    assert np.isnan([result.score, result.low, result.high]).all()
    assert result.tasks["math"].score == 5 / 8
    assert "–" in shown(results_table([result, of(task, RIGHT, TEXTS)], "both"))
    save_results([result], tmp_path / "results.json")
    (row,) = json.loads((tmp_path / "results.json").read_text())
    assert row["score"] is row["low"] is row["tasks"]["text"]["score"] is None
    assert np.isnan(load_results(tmp_path / "results.json")[0].tasks["text"].high)


def test_results_come_back_from_their_file(tmp_path):
    results = [
        of(BOTH, RIGHT, TEXTS, evaluations=5, seconds=1.5, chosen_on_these_items=True),
        of(Counted(8), RIGHT),
    ]
    save_results(results, tmp_path / "results.json")
    assert load_results(tmp_path / "results.json") == results
    several_, single = json.loads((tmp_path / "results.json").read_text())
    assert (single["measure"], single["unit"], single["tasks"]) == ("accuracy", FRACTION, {})
    assert several_["unit"] == "weighted sum"
    assert several_["chosen_on_these_items"] is True
    assert several_["tasks"]["text"]["unit"] == "nats per token"
    assert several_["tasks"]["math"]["weight"] == 0.75


def test_pictures_that_cannot_be_looked_at_are_counted(tmp_path):
    results = [of(Counted(8), RIGHT, flawed=3), of(Counted(8), RIGHT, name="m1", flawed=0)]
    save_results([*results, of(Counted(8), RIGHT)], tmp_path / "results.json")
    assert [one.flawed for one in load_results(tmp_path / "results.json")] == [3, 0, None]
    assert "flawed" not in json.loads((tmp_path / "results.json").read_text())[2]
    assert flaw_line(results).endswith("not finite: 3 of evolved")
    assert flaw_line(results[1:]) is None


def test_results_of_another_version_are_refused(tmp_path):
    (tmp_path / "results.json").write_text('[{"name": "evolved", "score": 1}]')
    with pytest.raises(ValueError, match=r"results\.json: not a list of results as this version"):
        load_results(tmp_path / "results.json")


def test_a_table_has_the_fitness_and_each_task_with_its_interval():
    text = shown(results_table([of(BOTH, RIGHT, TEXTS)], "both"))
    for part in (
        "fitness = 0.75 × accuracy (math) + 0.25 × log-likelihood (text)",
        "larger is better",
        "11 items of the test split (8 of math, 3 of text)",
        "fitness, weighted sum",
        "accuracy, %",
        "log-likelihood, nats per token",
        "-0.2812",
        "62.5",
        "30.6 – 86.3",
        "-4 – -2",
    ):
        assert part in " ".join(text.split()), part


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_digit_is_cut_off_in_a_narrow_terminal(width):
    text = shown(results_table([of(BOTH, RIGHT, TEXTS, name="m" * 30)], "both"), width)
    assert "…" not in text
    assert text.count("m") >= 30


def test_per_cent_is_of_fractions_whatever_the_values():
    between = Counted(3, LOG_LIKELIHOOD)
    text = shown(results_table([of(between, np.array([0.2, 0.3, 0.4]))], "densities"))
    assert "%" not in text.replace("95 %", "")
    assert "0.3" in text
    assert "30.0" in shown(results_table([of(Counted(10), np.arange(10) < 3)], "sums"))
    percent = several(a=Counted(2), b=Counted(2))
    assert "fitness, %" in shown(results_table([of(percent, [1, 0], [1, 1])], "two"))


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("search", "the items that the search chose by"),
        ("validation", "the items that the winner was chosen by"),
        ("test", "items that the search chose by among them"),
    ],
)
def test_who_was_chosen_by_these_items_is_said_in_the_title_and_below(split, words):
    task = Counted(8, split=split)
    results = [of(task, RIGHT, name="base"), of(task, RIGHT, chosen_on_these_items=True)]
    title = " ".join(shown(results_table(results, "sums")).split())
    assert f"8 items of the {split} split, {words}" in title
    line = choice_line(results)
    assert line.startswith("evolved: chosen by results on ")
    assert "these very items" in line
    assert "of a task that divides its one file, a share of that by fitness.split" in line
    assert "fitness.split=[0.6,0.2,0.2]" in line
    assert "base" not in line
    held_out = [of(Counted(8), RIGHT)]
    assert "chose" not in shown(results_table(held_out, "sums"))
    assert choice_line(held_out) is None


def test_test_items_that_the_search_has_too_are_items_that_it_chose_by():
    task = Counted(8)
    assert not is_chosen_by(task)
    task.repeated = 1
    assert is_chosen_by(task)
    assert is_chosen_by(Counted(8, split="validation"))


def test_the_line_of_noise_says_what_it_counts():
    searched = of(Counted(8, split="search"), RIGHT, chosen_on_these_items=True)
    line = noise_line([of(Counted(8), RIGHT), searched])
    assert line == (
        "evolved: accuracy, %, with the standard error of a candidate's score: 62.5 ± 14 on the "
        "8 items of the search split (chosen by them), 62.5 ± 14 on the 8 items of the test split"
    )


def test_names_are_shown_as_they_are():
    text = shown(results_table([of(Counted(8), RIGHT, name="[bold]a[/b]")], "[red]task[/]"))
    assert "[bold]a[/b]" in text
    assert "[red]task[/]" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [("[]", "holds no results"), ("[" * 9999, "nested"), ("[{", "not valid JSON"), ("3", "not a")],
)
def test_damaged_results_are_said_to_be(tmp_path, text, message):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match=rf"results\.json: {message}|results\.json: is {message}"):
        load_results(tmp_path / "results.json")
