"""Intervals against published values and by simulation."""

import numpy as np
import pytest

from evojax_merge.report.intervals import interval


def test_wilson_for_right_and_wrong():
    # Newcombe (1998), Table I, row (b): 15 of 148 gives 0.0624 to 0.1605 by Wilson's method.
    low, high = interval(np.array([1.0] * 15 + [0.0] * 133))
    assert (low, high) == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_nothing_right_still_has_an_upper_end():
    low, high = interval(np.zeros(100))
    assert low == 0.0
    assert high == pytest.approx(0.0370, abs=5e-4)


def test_bootstrap_covers_the_mean_about_as_often_as_it_should():
    rng = np.random.default_rng(1)
    samples = rng.normal(3.0, 1.0, (100, 60))
    covered = sum(low <= 3.0 <= high for low, high in map(interval, samples))
    assert 85 <= covered <= 100


@pytest.mark.parametrize("items", [[], [0.3], [0.3, np.nan]])
def test_no_interval_where_there_is_none(items):
    assert np.isnan(interval(np.array(items))).all()
