"""95 % intervals of a mean over items, of paired differences, and of a weighted sum of means."""

import math
from collections.abc import Sequence

import numpy as np

from evojax_merge.params.types import Float

LEVEL = 0.95
_NORMAL = 1.959963984540054
"""The quantile of the normal distribution that 95 % intervals reach to."""
_RESAMPLES = 2_000


def interval(items: Float[np.ndarray, " items"]) -> tuple[float, float]:
    """The confidence interval of the mean of the results of items.

    It is Wilson's score interval when every result is 0 or 1 (Wilson, 1927), and otherwise that of
    the percentile bootstrap with a fixed seed. Without finite results, or with fewer than two that
    are not 0 or 1, both ends are nan.
    """
    items = np.asarray(items, np.float64)
    if not items.size or not np.isfinite(items).all():
        return float("nan"), float("nan")
    if np.isin(items, (0.0, 1.0)).all():
        from scipy import stats  # two seconds of import, at the end of a run only

        test = stats.binomtest(int(items.sum()), items.size)
        found = test.proportion_ci(LEVEL, method="wilson")
        return float(found.low), float(found.high)
    return _bootstrap(items)


def paired_interval(
    items: Float[np.ndarray, " items"], others: Float[np.ndarray, " items"]
) -> tuple[float, float]:
    """The confidence interval of the mean difference of two methods on the same items.

    Where every result is 0 or 1, it is the adjusted Wald interval of Bonett & Price (Adjusted Wald
    confidence interval for a difference of binomial proportions based on paired data, 2012), which
    has a width even where the methods differ on no item. Otherwise it is the percentile bootstrap
    of the differences, as in `interval`. Without finite differences, or with fewer than two that
    are not of 0 and 1, both ends are nan.

    Args:
        items: The results of a method.
        others: Those of the method that it is compared with, in the same order.
    """
    items, others = np.asarray(items, np.float64), np.asarray(others, np.float64)
    differences, number = items - others, items.size
    if not number or not np.isfinite(differences).all():
        return float("nan"), float("nan")
    if not np.isin([items, others], (0.0, 1.0)).all():
        return _bootstrap(differences)
    more, less = ((np.sum(differences == sign) + 1) / (number + 2) for sign in (1, -1))
    middle = float(more - less)
    reach = _NORMAL * math.sqrt((more + less - middle**2) / (number + 2))
    return max(-1.0, middle - reach), min(1.0, middle + reach)


def _bootstrap(items: np.ndarray) -> tuple[float, float]:
    """The percentile bootstrap of a mean with a fixed seed, of finite numbers."""
    if items.size < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(0)
    resampled = rng.choice(items, (_RESAMPLES, items.size)).mean(axis=1)
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def weighted_interval(
    weights: Sequence[float],
    means: Sequence[float],
    intervals: Sequence[tuple[float, float]],
) -> tuple[float, float]:
    """The confidence interval of Σ w_k m_k, of means m_k over independent samples of items.

    The distances of each mean from its own ends add up in squares, below and above apart:
    low = Σ w_k m_k − √Σ (w_k (m_k − low_k))² and high = Σ w_k m_k + √Σ (w_k (high_k − m_k))². So
    the ends stay sensible where those of a mean do, e.g. where no item is right. Tasks that share
    their items are not independent. Where they do well on the same items, the interval is too
    narrow.

    The source is Zou, Huang & Zhang, A note on confidence interval estimation for a linear function
    of binomial proportions, 2009 (the method of variance estimates recovery).

    Args:
        weights: The weight of each mean, 0 or more; a mean of weight 0 is left out.
        means: The means, each by itself.
        intervals: The low and the high end of each mean.
    """
    counted = np.array(weights) > 0
    weight, mean = np.array(weights)[counted], np.array(means)[counted]
    low, high = np.array(intervals).reshape(-1, 2)[counted].T
    total = float(weight @ mean)
    below = np.sqrt(np.sum((weight * (mean - low)) ** 2))
    above = np.sqrt(np.sum((weight * (high - mean)) ** 2))
    return total - float(below), total + float(above)
