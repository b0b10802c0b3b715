"""The base of search strategies: all that a run may ask of one, with what most of them answer."""

import abc
import math
from collections.abc import Iterable
from typing import Any, ClassVar, Literal, Self

import numpy as np

from evojax_merge.documents.nearest import nearest
from evojax_merge.params.types import Float, Genotype, Population, PRNGKey

State = Any
"""A pytree of arrays whose structure, shapes and dtypes are fixed from ``init`` on."""


Hears = Literal["fitness", "objectives", "items"]
"""What a strategy is told of a generation: a number for each candidate; the mean of each task,
``[pop, tasks]``; or the result of every item, ``[pop, items]``."""


class Strategy(abc.ABC):
    """The base class of what proposes genotypes and learns from their fitness.

    A strategy is made from a `Setting`, its first argument, and from what its configuration says.
    Three methods must be written: `init`, `ask` and `tell`, which are pure, so that a search can be
    resumed from a saved state to the same bits. Everything else has a default, for which a strategy
    of a few lines need not know of it:

        class Uniform(Strategy):
            def __init__(self, setting, population_size=8):
                self.box = setting.box(sigma=1.0)
                self.dims, self.population_size = self.box.start.size, population_size

            def init(self, key):
                return ()

            def ask(self, key, state):
                shape = (self.population_size, self.dims)
                return jax.random.uniform(key, shape) * self.box.span + self.box.lower, state

            def tell(self, key, population, fitness, state):
                return state

    Attributes:
        population_size: How many candidates a generation has.
        dims: How many genes a genotype has.
        hears: What `tell` is told of a generation, one of `Hears`.
        uses_span: Whether deviations and steps are shares of ``Setting.span``. Spaces whose genes
            have a span of their own refuse a strategy that would pass it over.
        follows_gradients: Whether `bind` must be called before the search.
        injectable: Whether `inject` may be called.
    """

    population_size: int
    dims: int
    hears: Hears = "fitness"
    uses_span: ClassVar[bool] = False
    follows_gradients: ClassVar[bool] = False
    injectable: ClassVar[bool] = False

    @abc.abstractmethod
    def init(self, key: PRNGKey) -> State:
        """Return the state before the first generation."""

    @abc.abstractmethod
    def ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        """Return one generation of genotypes, inside the bounds."""

    @abc.abstractmethod
    def tell(self, key: PRNGKey, population: Population, told: Any, state: State) -> State:
        """Return the state after a generation was scored.

        Args:
            key: The randomness of this call.
            population: The genotypes as asked.
            told: What the strategy hears of them, which is maximised; what is not finite is a
                failure.
            state: The state that `ask` returned.
        """

    @property
    def name(self) -> str:
        """What messages call the strategy."""
        return type(self).__name__

    @property
    def averages(self) -> bool:
        """Whether scores are only compared within a generation, and luck in them averages out."""
        return False

    @property
    def title(self) -> str:
        """What reports call the strategy."""
        return type(self).__name__

    @property
    def own_measure(self) -> tuple[str, str, bool] | None:
        """The `fitness.base.Measure` that `score` gives; None where the task scores candidates."""
        return None

    @property
    def scores_itself(self) -> bool:
        """Whether `score` says how good a genotype is, and not the task."""
        return self.own_measure is not None

    def seed(self, genotypes: Any) -> Self:
        """Return the strategy that begins from these genotypes ``[seeds, dims]``.

        It is the same strategy where it cannot begin from genotypes.
        """
        return self

    def check(self, task: Any) -> None:
        """Refuse a task that the strategy cannot search for, before any weights are read.

        Args:
            task: The search split of the task, bound.

        Raises:
            ValueError: The strategy cannot work with the task.
        """
        return

    def bind(self, space: Any) -> Self:
        """Return the strategy that follows gradients in a space, a `gradient.Descendable`.

        It is called where ``follows_gradients`` is true.
        """
        return self

    def score(self, population: Population) -> Float[np.ndarray, "pop items"]:
        """How good each candidate is on each item, by `own_measure`; larger is better."""
        raise NotImplementedError(f"{self.name} has the task score its candidates")

    def spent(self, state: State) -> int:
        """How many items the strategy itself has measured so far, for gradients for instance."""
        return 0

    def inject(
        self, genotype: Genotype, population: Population, state: State
    ) -> tuple[Population, State]:
        """Put a genotype from elsewhere in the place of the last one asked, as if it had been.

        It is called where ``injectable`` is true.
        """
        raise NotImplementedError(f"{self.name} learns from its own candidates alone")

    def recommend(self, state: State) -> Genotype | None:
        """Return a genotype that the strategy believes in without having seen it measured.

        It may be the mean of the strategy's distribution. None is returned where there is no such
        genotype.
        """
        return None

    def front(
        self, state: State
    ) -> tuple[Float[np.ndarray, "members dims"], Float[np.ndarray, "members tasks"]] | None:
        """Return genotypes worth keeping for one objective or another, and their objectives.

        A run keeps those that no other is better than in everything. None is returned by a strategy
        that seeks the best by one number.
        """
        return None


def default_population_size(dims: int) -> int:
    """The population of CMA-ES, ``4 + ⌊3 ln dims⌋`` (Hansen, arXiv 1604.00772, eq. 48)."""
    return 4 + math.floor(3 * math.log(dims))


class ArgumentError(ValueError):
    """An argument that an algorithm does not have or cannot take, whatever its population."""


def check_names(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Refuse the names that are not known, each with its nearest known one.

    Raises:
        ArgumentError: A given name is not among the known.
    """
    known = sorted(known)
    wrong = [name for name in given if name not in known]
    if wrong:
        parts = ", ".join(f"{name!r}{nearest(name, known)}" for name in wrong)
        raise ArgumentError(f"unknown {what} {parts} (known: {', '.join(known) or 'none'})")
