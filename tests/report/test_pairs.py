"""Paired differences against published values, by simulation, and on mistakes."""

import io
import itertools

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from evojax_merge.fitness.base import ACCURACY, Measure
from evojax_merge.report.intervals import paired_interval
from evojax_merge.report.pairs import MCNEMAR, SIGNS, difference, differences_table
from evojax_merge.report.results import Result, TaskScore

LOSS = Measure("log-likelihood", "nats")


def result(name, items, measure=ACCURACY, tasks=None):
    score = TaskScore.of(measure, 1.0, items)
    parts = (score.score, score.low, score.high, len(items), 0, 0.0, 0)
    return Result(name, "test", *parts, measure, False, tasks or {})


def compared(items, others, measure=ACCURACY):
    items, others = np.array(items, np.float32), np.array(others, np.float32)
    return difference(result("a", items, measure), items, result("b", others, measure), others)


def table(both, first, second, neither):
    cells = ((1, 1), (1, 0), (0, 1), (0, 0))
    counts = (both, first, second, neither)
    rows = np.array([c for c, n in zip(cells, counts, strict=True) for _ in range(n)], np.float32)
    return rows.T


def test_right_and_wrong_as_statistics_of_the_four_cells():
    # Agresti, Categorical Data Analysis, table of approval ratings: 794, 150, 86 and 570 of 1600.
    found = compared(*table(794, 150, 86, 570))
    assert found.test == MCNEMAR
    assert found.score == pytest.approx(0.04)
    assert (found.low, found.high) == pytest.approx((0.021, 0.059), abs=1e-3)
    assert found.p_value == pytest.approx(3.7e-5, rel=0.05)
    assert (found.better, found.worse) == (150, 86)


def test_equal_methods_have_an_interval_around_0_and_no_evidence():
    found = compared(*table(20, 0, 0, 20))
    assert found.low == -found.high < 0
    assert found.p_value == 1.0


def test_the_interval_stays_within_what_is_possible():
    assert compared(*table(0, 5, 0, 0)).high == 1.0
    assert compared(*table(0, 0, 5, 0)).low == -1.0


@pytest.mark.parametrize("binary", [True, False])
def test_intervals_cover_the_difference_about_as_often_as_they_should(binary):
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(150):
        easy = rng.normal(0, 2, 60)  # an item is easy or hard for both
        first, second = easy + rng.normal(0.5, 1, 60), easy + rng.normal(0, 1, 60)
        if binary:
            first, second = np.sign(first).clip(0), np.sign(second).clip(0)
        low, high = paired_interval(first, second)
        covered += low <= (0.0885 if binary else 0.5) <= high
    assert 135 <= covered <= 150


def test_a_few_scores_are_tested_by_all_ways_to_flip_their_signs():
    apart = np.array([0.5, 1.0, -0.25, 2.0, 0.75])
    found = compared(apart, np.zeros(5), LOSS)
    sums = [abs(np.dot(signs, apart)) for signs in itertools.product((1, -1), repeat=5)]
    assert found.test == SIGNS
    assert found.p_value == pytest.approx(np.mean(np.array(sums) >= apart.sum() - 1e-12))


def test_many_scores_are_tested_alike_each_time():
    rng = np.random.default_rng(3)
    first, second = rng.normal(0.4, 1, 80), rng.normal(0, 1, 80)
    found = compared(first, second, LOSS)
    assert found == compared(first, second, LOSS)
    assert found.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=0.01)
    assert found.low < found.score < found.high


def test_several_tasks_are_weighted_as_their_fitness_is():
    exact, loss = np.array([1, 0, 1, 1.0]), np.array([-1.0, -2.0])
    worse, other = np.array([0, 0, 0, 1.0]), np.array([-1.5, -2.5])

    def both(name, first, second):
        tasks = {"a": TaskScore.of(ACCURACY, 0.75, first), "b": TaskScore.of(LOSS, 0.25, second)}
        items = np.concatenate([first, second])
        return result(name, items, LOSS, tasks), items

    found = difference(*both("a", exact, loss), *both("b", worse, other))
    assert found.score == pytest.approx(0.75 * 0.5 + 0.25 * 0.5)
    assert found.low < found.score < found.high
    assert found.test == SIGNS


def test_what_is_known_exactly_has_no_interval_and_no_p_value():
    found = compared([12.0], [10.0], Measure("FID", "", sampled=False))
    assert found.low == found.high == found.score == 2
    assert np.isnan(found.p_value)


def test_an_item_that_is_not_finite_leaves_nothing_to_compare():
    found = compared([1.0, np.nan], [0.5, 0.5], LOSS)
    assert np.isnan([found.score, found.low, found.high, found.p_value]).all()


def test_other_items_are_no_pairs():
    with pytest.raises(ValueError, match="a and b: were measured on other items"):
        compared([1.0, 0.0], [1.0])


def test_the_table_says_signs_and_the_test():
    console = Console(width=200, file=io.StringIO())
    console.print(differences_table([compared(*table(794, 150, 86, 570))]))
    text = console.file.getvalue()
    assert "difference from b, item by item, percentage points" in text
    assert "p of the exact McNemar test" in " ".join(text.split())
    assert "+4.0" in text
    assert "+2.1 – +5.9" in text
