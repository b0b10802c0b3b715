"""The methods of the figure, each a strategy of the package with the settings of the paper."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from evojax_merge.params.types import Array, Float, Genotype, Population
from evojax_merge.strategies import (
    M2N2,
    DominatedNoveltySearch,
    EvosaxStrategy,
    MAPElites,
    Setting,
)
from experiments.search.m2n2.network import DIMS, INITIAL_DEVIATION, load, right

POPULATION = 20
"""Of the archive, and of CMA-ES."""

# Weights are unbounded in the paper, and a deviation is one of weights.
BOX = Setting(
    np.full(DIMS, -1e3),
    np.full(DIMS, 1e3),
    np.zeros(DIMS),
    np.ones(DIMS),
    objectives=("all", "odd", "even"),
)


def natural_niches(**settings: Any) -> M2N2:
    """M2N2, or a part of it."""
    setting = dataclasses.replace(BOX, items=len(load()[0].labels))
    return M2N2(setting, archive_size=POPULATION, sigma=INITIAL_DEVIATION, **settings)


def map_elites() -> MAPElites:
    """A grid of 10 × 10 over the accuracies on odd and on even digits."""
    return MAPElites(
        BOX,
        fitness="all",
        bins=10,
        population_size=1,
        founders=2,
        selection="quality",
        sigma=INITIAL_DEVIATION,
    )


def dominated_novelty(**settings: Any) -> DominatedNoveltySearch:
    """As many members as M2N2 has, bred as MAP-Elites breeds them."""
    setting = dataclasses.replace(BOX, items=len(load()[0].labels))
    return DominatedNoveltySearch(
        setting,
        archive_size=POPULATION,
        population_size=1,
        founders=2,
        selection="quality",
        sigma=INITIAL_DEVIATION,
        **settings,
    )


def cma_es() -> EvosaxStrategy:
    """With a diagonal covariance: a full one takes 1.5 GB, and could hardly change (README)."""
    return EvosaxStrategy(BOX, "Sep_CMA_ES", population_size=POPULATION, sigma=INITIAL_DEVIATION)


FROM_SCRATCH: dict[str, Callable[[], Any]] = {
    "M2N2": natural_niches,
    "GA": functools.partial(natural_niches, alpha=0, attraction=False),
    "MAP-Elites": map_elites,
    "no crossover": functools.partial(natural_niches, crossover=False),
    "CMA-ES": cma_es,
    "no attraction": functools.partial(natural_niches, attraction=False),
    "no split point": functools.partial(natural_niches, split="none"),
}

# Not in the paper; `--methods` names them.
BESIDE: dict[str, Callable[[], Any]] = {
    "novelty, odd and even": functools.partial(dominated_novelty, fitness="all"),
    "novelty, items": functools.partial(dominated_novelty, descriptors="items"),
}

# Without crossover nothing would change; CMA-ES does not start from two models.
PRETRAINED = {
    name: make for name, make in FROM_SCRATCH.items() if name not in ("no crossover", "CMA-ES")
}

METHODS = FROM_SCRATCH | BESIDE


def told(strategy: Any, items: Float[Array, "pop items"]) -> Array:
    """What a strategy hears of the items that candidates got right."""
    if strategy.hears == "items":
        return items
    accuracy = items.mean(axis=1)
    if strategy.hears == "fitness":
        return accuracy
    odd = load()[0].labels % 2 == 1
    parts = [items.mean(axis=1, where=part) for part in (odd, ~odd)]
    return jnp.stack([accuracy, *parts], axis=1)


def champion(strategy: Any, state: Any, best: Genotype) -> Genotype:
    """Whose test accuracy counts: of the archive's members the best on the training images.

    Args:
        strategy: One of the above.
        state: Of its search.
        best: The best candidate so far, the champion of CMA-ES.
    """
    if isinstance(strategy, M2N2):
        return state.archive.members[state.archive.scores.mean(axis=1).argmax()]
    if isinstance(strategy, MAPElites | DominatedNoveltySearch):
        return state.archive.genotypes[state.archive.quality.argmax()]
    return best


def score(population: Population) -> Float[Array, "pop items"]:
    """The training images that each candidate gets right."""
    digits = load()[0]
    return jnp.stack([right(genotype, digits) for genotype in population])
