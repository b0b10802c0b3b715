"""The interface of what a descent descends, and what it is made of."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from evojax_merge.params.types import Float, Genotype, PRNGKey


class Slope(NamedTuple):
    """A gradient, and the number of items it was taken on."""

    gradient: Genotype
    items: int


class Objective(Protocol):
    """A function of the genotype that is to be made small, the mean of a value for each item."""

    def items(self, genotype: Genotype) -> Float[np.ndarray, " items"]:
        """The value of every item."""
        ...

    def gradient(self, key: PRNGKey, genotype: Genotype) -> Slope:
        """The gradient of the mean over a random batch of items."""
        ...


class Descendable(NamedTuple):
    """What objectives are made of: a space over loaded checkpoints, and a task.

    Attributes:
        family: The family of the models.
        config: The configuration of the models.
        merge_fn: The function from materials and a genotype to parameters, which is differentiable
            in the genotype.
        materials: What is merged.
        task: The bound task that provides the items.
    """

    family: Any
    config: Any
    merge_fn: Callable[[Any, Genotype], Any]
    materials: Any
    task: Any
