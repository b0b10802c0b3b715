"""What a search costs until it is at its target, and how far two searches differ in that.

The expected cost is that of all runs over the number of runs that arrived (Hansen et al., "COCO:
Performance Assessment", 2016): what it takes on average if a run that did not arrive is followed by
another. Where no run arrived it is taken to be ten budgets (PAR10).
"""

from typing import NamedTuple

import numpy as np

from evojax_merge.params.types import Bool, Float

LEVEL = 0.95
DRAWS = 4_000
PENALTY = 10.0
"""Budgets that a search costs at most."""


class Runs(NamedTuple):
    """Runs of one search on one problem or several.

    Attributes:
        cost: Until the target or, where it was not reached, the end.
        reached: Whether it was.
        budget: The cost at which a run ends.
    """

    cost: Float[np.ndarray, "*problems runs"]
    reached: Bool[np.ndarray, "*problems runs"]
    budget: float

    def expected(self) -> Float[np.ndarray, " *problems"]:
        """Cost until a run arrives, at most `PENALTY` budgets."""
        total, arrived = self.cost.sum(axis=-1), self.reached.sum(axis=-1)
        found = np.divide(total, arrived, out=np.full(total.shape, np.inf), where=arrived > 0)
        return np.minimum(found, PENALTY * self.budget)

    def resampled(self, rng: np.random.Generator) -> "Runs":
        """`DRAWS` times as many runs, drawn with replacement: ``[draws, *problems, runs]``."""
        runs = self.cost.shape[-1]
        drawn = rng.integers(runs, size=(DRAWS, runs))
        cost, reached = (np.moveaxis(x[..., drawn], -2, 0) for x in self[:2])
        return Runs(cost, reached, self.budget)


class Ratio(NamedTuple):
    """A ratio of expected costs, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} – {self.high:.2f})"


def ratio(runs: Runs, reference: Runs) -> Ratio:
    """Expected cost over that of the reference: the geometric mean over problems.

    The interval is the percentile bootstrap over runs, with a fixed seed.
    """

    def of(runs: Runs, reference: Runs, axes: tuple[int, ...]) -> np.ndarray:
        logs = np.log(runs.expected()) - np.log(reference.expected())
        return np.exp(logs.mean(axis=axes))

    problems = runs.cost.ndim - 1
    rng = np.random.default_rng(0)
    drawn = of(runs.resampled(rng), reference.resampled(rng), tuple(range(1, problems + 1)))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Ratio(float(of(runs, reference, tuple(range(problems)))), float(low), float(high))
