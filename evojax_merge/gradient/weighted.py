"""The objectives of several tasks as one objective."""

from collections.abc import Sequence

import jax
import numpy as np

from evojax_merge.gradient.objective import Objective, Slope
from evojax_merge.params.types import Float, Genotype, PRNGKey


class WeightedObjectives:
    """The weighted sum of objectives, as fitness is the weighted sum of the tasks' means.

    Args:
        objectives: The objectives, one of each task.
        weights: The weights of the objectives' means.
    """

    def __init__(self, objectives: Sequence[Objective], weights: Sequence[float]) -> None:
        self._objectives = tuple(objectives)
        self._weights = tuple(weights)

    def items(self, genotype: Genotype) -> Float[np.ndarray, " items"]:
        """The value of every item of every task, scaled so that the mean is the weighted sum."""
        values = [objective.items(genotype) for objective in self._objectives]
        count = sum(map(len, values))
        return np.concatenate(
            [
                np.float32(weight * count / len(own)) * own
                for own, weight in zip(values, self._weights, strict=True)
            ]
        )

    def gradient(self, key: PRNGKey, genotype: Genotype) -> Slope:
        """The gradient on a random batch of items of each task."""
        keys = jax.random.split(key, len(self._objectives))
        slopes = [
            objective.gradient(key, genotype)
            for objective, key in zip(self._objectives, keys, strict=True)
        ]
        weighted = [
            weight * slope.gradient for weight, slope in zip(self._weights, slopes, strict=True)
        ]
        return Slope(sum(weighted[1:], weighted[0]), sum(slope.items for slope in slopes))
