"""The interface between a run and the space that it searches."""

import abc
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evojax_merge.checkpoints import Model
from evojax_merge.fitness.drawing.showing import Drawn
from evojax_merge.gradient import Descendable
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.params.types import Float
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.recipes.path import PathRecipe
from evojax_merge.recipes.weights import WeightsRecipe
from evojax_merge.report.results import EVOLVED as EVOLVED

RANDOM = "random_search"
RANDOM_PATHS = "random_paths"
"""A hybrid's random search for paths, through a pool that holds the evolved merge."""
EXPORTED = "exported"
"""The winner of a search for paths as the plain checkpoint that it is exported as.

Only the epsilon of norms, and rounding, tell it from the path itself."""

GALLERY = "gallery"
"""The task of an evaluator that draws pictures to look at, beside those of the splits."""


class Measured(NamedTuple):
    """What was measured of a method on a split.

    Attributes:
        name: The method.
        items: Its results on every item.
        flawed: How many of its pictures are black or not finite, where it draws.
        details: The function that gives the task's record of every item, to be called before the
            next method is measured.
    """

    name: str
    items: Float[np.ndarray, " items"]
    flawed: int | None = None
    details: Callable[[], list[dict[str, Any]]] = list


Scored = Iterator[Measured]
"""What was measured of several methods."""


@dataclasses.dataclass(frozen=True)
class Found:
    """The winner of a search, and what it took to find it."""

    genotype: np.ndarray
    evaluations: int
    seconds: float
    item_evaluations: int = 0
    front: np.ndarray | None = None
    """The genotypes of the front, where the strategy keeps one."""


class Winner(NamedTuple):
    """What an earlier search of a run leaves to those that follow.

    Attributes:
        found: What the search found.
        recipe: The recipe of the winner.
        model: The model that the recipe describes; None where plain weights cannot express it.
    """

    found: Found
    recipe: Any
    model: Model | None


class InexpressibleError(ValueError):
    """The error of a recipe that no plain checkpoint computes."""


class Problem(abc.ABC):
    """A space over loaded checkpoints, ready to evaluate.

    Attributes:
        space: An object with ``dims``, ``lower``, ``upper``, ``start``, ``keys`` and perhaps
            ``span``.
        evaluator: What measures genotypes.
        keeps_genotypes: Whether genotypes are small enough for the history to hold each.
    """

    space: Any
    evaluator: Evaluator
    keeps_genotypes = True

    @property
    def seeds(self) -> Float[np.ndarray, "seeds dims"] | None:
        """The genotypes that a search may begin with, where the problem knows some."""
        return None

    def descendable(self) -> Descendable | None:
        """What strategies that follow gradients need, where gradients can be followed."""
        return None

    @abc.abstractmethod
    def recipe(self, found: Found) -> Recipe | PathRecipe | WeightsRecipe:
        """The recipe of a genotype."""

    @abc.abstractmethod
    def build(self, recipe: Any) -> Model:
        """The model that one of this problem's recipes describes, as a plain checkpoint.

        Raises:
            InexpressibleError: Plain weights cannot express the model.
        """

    @abc.abstractmethod
    def compare(self, model: Model | None, found: Mapping[str, Found], split: str) -> Scored:
        """Measure every method on a split: sources, published merges, searches.

        Args:
            model: The winner's model; None where plain weights cannot express its path.
            found: The winner of each search by name; the one named `EVOLVED` comes last, but for
                `EXPORTED` where that is another program.
            split: The name of one of the evaluator's tasks.
        """

    @abc.abstractmethod
    def measure(self, model: Model | None, found: Found, split: str) -> Float[np.ndarray, " items"]:
        """The results of the winner on every item of a split."""

    @abc.abstractmethod
    def measure_sources(self, split: str) -> Float[np.ndarray, "sources items"]:
        """The results of each source, the base not among them, on every item of a split."""

    def drawn(
        self, model: Model | None, found: Mapping[str, Found]
    ) -> Iterator[tuple[str, list[Drawn]]]:
        """The pictures of every method that `compare` measures, where there are some to look at.

        Args:
            model: As for `compare`.
            found: As for `compare`.
        """
        del model, found
        return iter(())

    @abc.abstractmethod
    def plot(self, recipe: Any, history: Path, directory: Path) -> None:
        """Draw what was found and how it was found."""
