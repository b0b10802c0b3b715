"""95 % intervals of a mean over items."""

import numpy as np

from evojax_merge.types import Float

LEVEL = 0.95
_RESAMPLES = 2_000


def interval(items: Float[np.ndarray, "items"]) -> tuple[float, float]:
    """Confidence interval of the mean of per-item results.

    Wilson's score interval when every result is 0 or 1 (Wilson, 1927), otherwise the percentile
    bootstrap with a fixed seed. Without finite results, or with fewer than two that are not 0 or 1,
    both ends are nan.
    """
    items = np.asarray(items, np.float64)
    if not items.size or not np.isfinite(items).all():
        return float("nan"), float("nan")
    if np.isin(items, (0.0, 1.0)).all():
        from scipy import stats  # two seconds of import, at the end of a run only

        test = stats.binomtest(int(items.sum()), items.size)
        found = test.proportion_ci(LEVEL, method="wilson")
        return float(found.low), float(found.high)
    if items.size < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(0)
    resampled = rng.choice(items, (_RESAMPLES, items.size)).mean(axis=1)
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
