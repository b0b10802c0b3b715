"""The mean of the numbers of items is what the harness computes from all of them."""

import math

import numpy as np
import pytest

from evojax_merge.fitness.base import FRACTION
from evojax_merge.fitness.harness.metrics import ItemMetric


def metric(name, kind="mean", sign=1.0):
    return ItemMetric(name, "none", kind, sign)


def test_means_have_the_sign_that_makes_larger_better():
    assert metric("acc").value(np.bool_(True)) == 1
    assert metric("acc").measure == ("acc", FRACTION, True)
    assert metric("edits", sign=-1.0).value(3) == -3
    assert metric("edits", sign=-1.0).measure.name == "minus edits"


def test_perplexities_are_means_of_log_likelihoods():
    given = [(-30.0, 6), (-10.0, 4), (-2.0, 2)]
    mean_weight = np.mean([weight for _, weight in given])
    word = metric("word_perplexity", "weighted_perplexity")
    bits = metric("bits_per_byte", "bits_per_byte")
    whole = sum(total for total, _ in given) / sum(weight for _, weight in given)
    assert np.mean([word.value(one, mean_weight) for one in given]) == pytest.approx(whole)
    expected = whole / math.log(2)
    assert np.mean([bits.value(one, mean_weight) for one in given]) == pytest.approx(expected)
    assert word.measure.unit == "nats per word"
    assert metric("perplexity", "perplexity").value(-4.5) == -4.5


def test_the_brier_score_is_a_mean_of_squared_errors():
    brier = metric("brier_score", "brier_score")
    assert brier.value((1, np.array([0.5, 0.25, 0.25]))) == pytest.approx(-(0.25 + 0.5625 + 0.0625))


@pytest.mark.parametrize("given", [("gold", "predicted"), None, "text"])
def test_what_is_no_number_is_refused(given):
    with pytest.raises(ValueError, match=r"the metric likelihood gives .* no number"):
        metric("likelihood").value(given)
