"""The interface of a search strategy and the error that names the nearest right word."""

import difflib
import math
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

from evojax_merge.params.types import Fitness, Population, PRNGKey

State = Any
"""A pytree of arrays whose structure, shapes and dtypes are fixed from ``init`` on."""


Hears = Literal["fitness", "objectives", "items"]
"""What a strategy is told of a generation: a number for each candidate; the mean of each task,
``[pop, tasks]``; or the result of every item, ``[pop, items]``."""


class Strategy(Protocol):
    """Proposes genotypes and learns from their fitness; all three methods are pure.

    What a strategy is told is its attribute ``hears``, see `Hears`; without one, the fitness. Three
    methods are optional. ``seed(genotypes)`` returns the strategy with genotypes to begin from.
    ``front(state)`` gives the genotypes that are worth keeping for one objective or another, and
    their objectives; of those, a run keeps what no other is better than in everything.
    ``recommend(state)`` gives a genotype that the strategy believes in without having seen it
    measured, such as the mean of its distribution, or None. ``averages``, if it is true, says that
    scores are compared within a generation alone, and luck in them averages out.
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


def within(outer: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    """What makes the strategy inside another one, which is told the fitness alone.

    Args:
        outer: Name of the other one.
        inner: Makes it from ``lower``, ``upper``, ``start``, ``span`` and ``population_size``.
    """

    def make(**arguments: Any) -> Any:
        name = getattr(getattr(inner, "func", inner), "__name__", "strategy")
        advice = "use one of evosax's, e.g. strategy@strategy.inner=cma_es"
        try:
            made = inner(**arguments)
        except TypeError as error:
            raise ArgumentError(
                f"strategy.inner: {name} cannot be made inside {outer}: {error}; {advice}"
            ) from error
        if hears(made) != "fitness":
            raise ArgumentError(
                f"strategy.inner: {name} is told the {hears(made)}, and {outer} knows the fitness "
                f"alone; {advice}"
            )
        return made

    return make


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
        near = difflib.get_close_matches(str(name).lower(), folded, n=1, cutoff=0.5)
        hint = f"; did you mean {folded[near[0]]!r}?" if near else ""
        parts.append(f"{name!r}{hint}")
    raise ArgumentError(f"unknown {what} {', '.join(parts)} (known: {', '.join(known) or 'none'})")
