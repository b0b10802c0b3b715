"""Searches of one strategy and saver by many seeds at once.

The strategy's ``ask`` and ``tell`` run for all seeds in one compiled call. The rules of the savers
are the package's own, and choose for each seed which of its results are heard.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from evojax_merge.config import build, compose
from evojax_merge.config.experiment import Savers
from evojax_merge.measuring.evaluation import Evaluation
from evojax_merge.params.types import Float, Int
from evojax_merge.savers import Scorer, fitting, make_rule
from evojax_merge.search.loop import init_state
from evojax_merge.search.state import EvolutionState, update_archive
from evojax_merge.strategies import Setting, Strategy, make_strategy

Populations = Float[np.ndarray, "seeds pop dims"]


class Landscape(Protocol):
    """What is searched, for several seeds at once."""

    @property
    def setting(self) -> Setting:
        """The bounds, the start and the number of items that drive a search."""
        ...

    def results(self, populations: Populations) -> Float[np.ndarray, "seeds pop items"]:
        """Whether each candidate solves each item of its seed."""
        ...

    def scores(self, genotypes: Float[np.ndarray, "seeds dims"]) -> Float[np.ndarray, " seeds"]:
        """The accuracy on held-out items."""
        ...


class Items:
    """What the rules of savers ask of a task."""

    request = None

    def __init__(self, count: int) -> None:
        self._count = count
        self.batches = ((np.zeros((count, 1)),),)

    def __len__(self) -> int:
        return self._count


class Searcher:
    """A strategy that searches for many seeds at once; each of its programs is compiled once.

    Args:
        strategy: The strategy.

    Raises:
        ValueError: The strategy needs more of a search than its scores.

    Attributes:
        strategy: The strategy.
        begin: Makes the states of the seeds from their keys.
        ask: Gives from the states the keys of `tell`, the populations, and the states after it.
        tell: Gives the states after the populations were scored (see `search.loop.step`).
        recommend: Gives the mean of each distribution, or the best genotype that was seen.
    """

    def __init__(self, strategy: Strategy) -> None:
        if strategy.hears != "fitness" or strategy.follows_gradients or strategy.scores_itself:
            raise ValueError(
                f"{strategy.name} needs more than scores; compare it on the real models"
            )

        def ask(state: EvolutionState) -> Any:
            key_ask, key_tell = jax.random.split(jax.random.fold_in(state.key, state.generation))
            population, asked = strategy.ask(key_ask, state.strategy)
            return key_tell, population, state._replace(strategy=asked)

        def tell(key: Any, population: Any, fitness: Any, assured: Any, state: Any) -> Any:
            return EvolutionState(
                state.generation + 1,
                state.key,
                strategy.tell(key, population, fitness, state.strategy),
                update_archive(state.archive, population, assured),
            )

        def recommend(state: EvolutionState) -> Any:
            found = strategy.recommend(state.strategy)
            return state.archive.genotypes[0] if found is None else found

        self.strategy = strategy
        self.begin = jax.jit(jax.vmap(lambda key: init_state(strategy, key, 1)))
        self.ask, self.tell = jax.jit(jax.vmap(ask)), jax.jit(jax.vmap(tell))
        self.recommend = jax.jit(jax.vmap(recommend))


class Contestant(NamedTuple):
    """A strategy with its savers."""

    searcher: Searcher
    savers: Savers


def contestant(
    overrides: Sequence[str], setting: Setting, known: dict[str, Searcher] | None = None
) -> Contestant:
    """What overrides of a configuration compose for a setting.

    Args:
        overrides: The first chooses the strategy, the others what else there is.
        setting: The bounds, the start and the number of items.
        known: The searchers of the same bounds by the first override, to which this one is added.

    Raises:
        ValueError: The strategy or a saver does not fit.
    """
    experiment = build(compose(["+experiment=digits", *overrides]))
    known = {} if known is None else known
    if overrides[0] not in known:
        known[overrides[0]] = Searcher(make_strategy(experiment.strategy, setting))
    searcher = known[overrides[0]]
    task: Any = Items(setting.items or 0)
    savers = fitting(experiment.savers, task, searcher.strategy)
    return Contestant(searcher, savers)


class Standing(NamedTuple):
    """Where the searches stand after a generation.

    Attributes:
        candidates: How many each has evaluated.
        items: How many items each has measured for them.
        genotypes: What each recommends: the mean of its distribution, or the best that it saw.
    """

    candidates: int
    items: Int[np.ndarray, " seeds"]
    genotypes: Float[np.ndarray, "seeds dims"]


def search(
    contestant: Contestant, landscape: Landscape, seeds: Sequence[int]
) -> Iterator[Standing]:
    """Search without an end, a generation of every seed at a time."""
    searcher, savers = contestant
    strategy = searcher.strategy
    count = landscape.setting.items or 0
    task: Any = Items(count)
    results: list[np.ndarray] = []

    def scorer(place: int, seed: int) -> Scorer:
        def measure(candidates: np.ndarray, rows: np.ndarray) -> Evaluation:
            found = results[0][place][np.ix_(candidates[:, 0].astype(int), rows)]
            return Evaluation(found, np.zeros(len(found), np.float32))

        return Scorer(make_rule(_seeded(savers, seed), task, strategy), measure, count)

    def whole(place: int) -> Evaluation:  # what a scorer without savers gives, sooner
        return Evaluation(results[0][place], np.zeros(strategy.population_size, np.float32))

    scorers = [scorer(place, seed) for place, seed in enumerate(seeds)] if savers.partial else None
    places: Any = np.arange(strategy.population_size, dtype=np.float32)[:, None]
    state = searcher.begin(jax.vmap(jax.random.key)(np.asarray(seeds)))
    items = np.zeros(len(seeds), np.int64)
    for generation in range(1, 2**31):
        keys, population, state = searcher.ask(state)
        results[:] = [landscape.results(np.asarray(population))]
        told = [one(places) for one in scorers] if scorers else list(map(whole, range(len(seeds))))
        fitness, assured = (
            np.stack([getattr(one, name) for one in told]) for name in ("fitness", "assured")
        )
        items += [int(one.item_evaluations.sum()) for one in told]
        state = searcher.tell(keys, population, fitness, assured, state)
        genotypes = np.asarray(searcher.recommend(state))
        yield Standing(generation * strategy.population_size, items.copy(), genotypes)


def _seeded(savers: Savers, seed: int) -> Savers:
    """The same savers with other draws."""
    own: dict[str, Any] = {name: given | {"seed": seed} for name, given in savers.partial.items()}
    return dataclasses.replace(savers, **own)
