"""The interface of a search strategy and the error that names the nearest right word."""

import difflib
import math
from collections.abc import Iterable
from typing import Any, Literal, Protocol

from evojax_merge.types import Fitness, Population, PRNGKey

State = Any
"""A pytree of arrays whose structure, shapes and dtypes are fixed from ``init`` on."""


Hears = Literal["fitness", "objectives", "items"]
"""What a strategy is told of a generation: a number for each candidate; the mean of each task,
``[pop, tasks]``; or the result of every item, ``[pop, items]``."""


class Strategy(Protocol):
    """Proposes genotypes and learns from their fitness; all three methods are pure.

    What a strategy is told is its attribute ``hears``, see `Hears`; without one, the fitness. Three
    methods are optional. ``seed(genotypes)`` returns the strategy with genotypes to begin from.
    ``front(state)`` gives the genotypes and objectives of those members of which none is better in
    everything. ``recommend(state)`` gives a genotype that the strategy believes in without having
    seen it measured, such as the mean of its distribution.
    """

    population_size: int
    dims: int

    def init(self, key: PRNGKey) -> State:
        """Return the state before the first generation."""

    def ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        """Return one generation of genotypes, inside the bounds."""

    def tell(self, key: PRNGKey, population: Population, fitness: Fitness, state: State) -> State:
        """Return the state after a generation was scored; what is told is maximised."""


def hears(strategy: Strategy) -> Hears:
    """What a strategy is told."""
    return getattr(strategy, "hears", "fitness")


def default_population_size(dims: int) -> int:
    """The population of CMA-ES, ``4 + ⌊3 ln dims⌋`` (Hansen, arXiv 1604.00772, eq. 48)."""
    return 4 + math.floor(3 * math.log(dims))


class ArgumentError(ValueError):
    """An argument that an algorithm does not have or cannot take, whatever its population."""


def check_names(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Refuse the names that are not known, each with its nearest known one.

    Raises:
        ArgumentError: a given name is not among the known.
    """
    known = sorted(known)
    wrong = [name for name in given if name not in known]
    if not wrong:
        return
    # Compared without case: the classes are CMA_ES and SimpleGA, people type cma_es and simplega.
    folded = {name.lower(): name for name in known}
    parts = []
    for name in wrong:
        near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
        hint = f"; did you mean {folded[near[0]]!r}?" if near else ""
        parts.append(f"{name!r}{hint}")
    raise ArgumentError(f"unknown {what} {', '.join(parts)} (known: {', '.join(known) or 'none'})")
