"""Means over repetitions with other seeds, with t intervals, and their paired differences."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from evojax_merge.params.types import Float
from evojax_merge.report.intervals import LEVEL


class Spread(NamedTuple):
    """The mean of some numbers and how sure it is.

    Attributes:
        mean: The mean.
        low: The lower end of its 95 % t interval; nan for fewer than two numbers.
        high: The upper end.
        deviation: The sample standard deviation; nan for fewer than two.
        size: How many numbers there are.
        p_value: How likely so great a mean, of either sign, is where the true one is 0, by a t
            test; nan for fewer than two numbers, or where all are the same.
    """

    mean: float
    low: float
    high: float
    deviation: float
    size: int
    p_value: float


def spread(values: Sequence[float] | Float[np.ndarray, " repetitions"]) -> Spread:
    """The mean of repetitions, with the interval mean ± t s / √n (Student, 1908).

    It takes repetitions for independent and normally distributed. Of paired differences its
    p-value is that of the paired t test.
    """
    numbers = np.asarray(values, np.float64)
    count, mean = numbers.size, float(np.mean(numbers))
    if count < 2 or not np.isfinite(numbers).all():
        return Spread(mean, math.nan, math.nan, math.nan, count, math.nan)
    if (numbers == numbers[0]).all():  # whose computed mean may be off by a digit
        return Spread(float(numbers[0]), float(numbers[0]), float(numbers[0]), 0.0, count, math.nan)
    deviation = float(np.std(numbers, ddof=1))
    error = deviation / math.sqrt(count)
    half = float(special.stdtrit(count - 1, (1 + LEVEL) / 2)) * error
    p_value = 2 * float(special.stdtr(count - 1, -abs(mean) / error))
    return Spread(mean, mean - half, mean + half, deviation, count, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, raised so that all of them hold together (Holm, 1979).

    Those that are nan stay so, and count for no test.
    """
    adjusted = [math.nan] * len(p_values)
    known = sorted((p, place) for place, p in enumerate(p_values) if math.isfinite(p))
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = largest
    return adjusted
