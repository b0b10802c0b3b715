"""The interface between a run and the space that it searches."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from evojax_merge.checkpoints import Model
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.params.types import Float
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.recipes.path import PathRecipe
from evojax_merge.recipes.weights import WeightsRecipe

EVOLVED = "evolved"
RANDOM = "random_search"
RANDOM_PATHS = "random_paths"
"""In a hybrid: a random search for paths, through a pool that holds the evolved merge."""
EXPORTED = "exported"
"""The winner of a search for paths as the plain checkpoint that it is exported as: only the norms'
epsilon and rounding tell it from the path itself."""

Scored = Iterator[tuple[str, Float[np.ndarray, " items"]]]
"""Names of methods, and the results of each on every item."""


@dataclasses.dataclass(frozen=True)
class Found:
    """The winner of a search, and what it took to find it."""

    genotype: np.ndarray
    evaluations: int
    seconds: float
    item_evaluations: int = 0
    front: np.ndarray | None = None
    """Genotypes of the front, where the strategy keeps one."""


class Problem(Protocol):
    """A space over loaded checkpoints, ready to evaluate.

    Attributes:
        space: With ``dims``, ``lower``, ``upper``, ``start``, ``keys`` and perhaps ``span``.
        evaluator: Measures genotypes.

    One may have ``seeds``, genotypes ``[n, dims]`` that a search may begin with.
    """

    @property
    def space(self) -> Any: ...

    @property
    def evaluator(self) -> Evaluator: ...

    def recipe(self, found: Found) -> Recipe | PathRecipe | WeightsRecipe:
        """The recipe of a genotype."""
        ...

    def build(self, recipe: Any) -> Model:
        """The model that one of this problem's recipes describes, as a plain checkpoint."""
        ...

    def compare(self, model: Model | None, found: Mapping[str, Found], split: str) -> Scored:
        """Measure every method on a split: sources, published merges, searches.

        Args:
            model: Of the winner; None where plain weights cannot express its path.
            found: The winner of each search by name; that named `EVOLVED` comes last, but for
                `EXPORTED` where that is another program.
            split: Of the evaluator's tasks.
        """
        ...

    def measure(self, model: Model | None, found: Found, split: str) -> Float[np.ndarray, " items"]:
        """Results of the winner on every item of a split."""
        ...

    def measure_sources(self, split: str) -> Float[np.ndarray, "sources items"]:
        """Results of each source, the base not among them, on every item of a split."""
        ...

    def plot(self, recipe: Any, history: Path, directory: Path) -> None:
        """Draw what was found, and how."""
        ...
