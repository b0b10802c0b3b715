"""What a descent descends: the interface, and its makers."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from evojax_merge.params.types import Float, Genotype, PRNGKey


class Slope(NamedTuple):
    """A gradient, and the number of items it was taken on."""

    gradient: Genotype
    items: int


class Objective(Protocol):
    """A function of the genotype, the mean of a value for each item, to be made small."""

    def items(self, genotype: Genotype) -> Float[np.ndarray, " items"]:
        """The value of every item."""
        ...

    def gradient(self, key: PRNGKey, genotype: Genotype) -> Slope:
        """Of the mean over a random batch of items."""
        ...


class Descendable(NamedTuple):
    """What objectives are made of: a space over loaded checkpoints, and a task.

    Attributes:
        family: Of the models.
        config: Their configuration.
        merge_fn: (materials, genotype) -> parameters, differentiable in the genotype.
        materials: What is merged.
        task: Bound; provides the items.
    """

    family: Any
    config: Any
    merge_fn: Callable[[Any, Genotype], Any]
    materials: Any
    task: Any
