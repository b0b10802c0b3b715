"""Expected costs to a target and intervals of their ratios."""

import numpy as np
import pytest

from experiments.search.ratios import Runs, ratio

BUDGET = 100.0


def runs(*costs: float) -> Runs:
    """Runs with these costs; those of a whole budget did not arrive."""
    cost = np.array(costs)
    return Runs(cost, cost < BUDGET, BUDGET)


def test_runs_that_did_not_arrive_are_paid_by_those_that_did() -> None:
    assert runs(20, 100, 30, 100).expected() == 125


def test_without_any_that_arrived_it_is_ten_budgets() -> None:
    assert runs(100, 100).expected() == 1_000


def test_ratio_is_that_of_the_expected_costs() -> None:
    found = ratio(runs(20, 40), runs(60, 60))
    assert found.value == pytest.approx(0.5)
    assert found.low == pytest.approx(20 / 60)
    assert found.high == pytest.approx(40 / 60)


def test_interval_of_equal_searches_holds_one() -> None:
    rng = np.random.default_rng(3)
    found = ratio(runs(*rng.uniform(10, 90, 20)), runs(*rng.uniform(10, 90, 20)))
    assert found.low < 1 < found.high


def test_interval_covers_about_as_often_as_it_should() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        found = ratio(runs(*rng.uniform(10, 30, 20)), runs(*rng.uniform(20, 60, 20)))
        covered += found.low <= 0.5 <= found.high
    assert 175 <= covered <= 198


def test_over_problems_it_is_the_geometric_mean() -> None:
    first = Runs(np.array([[10.0, 10.0], [40.0, 40.0]]), np.ones((2, 2), bool), BUDGET)
    second = Runs(np.array([[20.0, 20.0], [20.0, 20.0]]), np.ones((2, 2), bool), BUDGET)
    assert tuple(ratio(first, second)) == pytest.approx((1.0, 1.0, 1.0))
