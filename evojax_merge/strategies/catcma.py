"""CatCMA with margin (Hamano et al., 2025), for genes that are real numbers and genes that choose.

[1] CatCMA with Margin: Stochastic Optimization for Continuous, Integer, and Categorical Variables,
    https://arxiv.org/abs/2504.07884
[2] Niloy, Black-Box Optimization of Mixed Binary-Continuous Variables: Challenges and Opportunities
    in Evolutionary Model Merging, 2026, https://arxiv.org/abs/2605.12326, which says that searches
    for paths are such problems

A candidate's real genes are drawn from the normal distribution of CMA-ES, its choices from a
categorical distribution that ASNG moves (`evojax_merge.strategies.asng`), and both learn from one
ranking of the generation.

Departures: the spaces of this package have no integer genes, so what [1] does with these is left
out; bounds are handled as for all strategies here (`evojax_merge.strategies.box`); and candidates
of equal cost share their weights.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import check_population_size
from evojax_merge.params.types import Array, Fitness, Float, Genotype, Int, Population, PRNGKey
from evojax_merge.strategies import asng
from evojax_merge.strategies.adapter import EvosaxStrategy
from evojax_merge.strategies.base import Strategy, default_population_size
from evojax_merge.strategies.cma_es import CMAES
from evojax_merge.strategies.setting import Setting
from evojax_merge.strategies.shaping import share_by_rank, to_cost


class State(NamedTuple):
    """The states of the distributions of real genes and of choices; () for one without genes."""

    reals: Any
    choices: Any


class CatCMA(Strategy):
    """CMA-ES for the real genes, ASNG for those that are choices.

    Which genes are choices is said by ``Setting.choices``. Without one the strategy is CMA-ES.

    Args:
        setting: The search that the strategy is for.
        population_size: How many candidates a generation has, at least 2; None for
            4 + ⌊3 ln dims⌋.
        sigma: The initial standard deviation of a real gene, a share of its span.

    Raises:
        ValueError: The probabilities of a choice are none, or `make_box` refuses the box.
    """

    uses_span = True

    def __init__(
        self, setting: Setting, *, population_size: int | None = None, sigma: float = 1 / 6
    ) -> None:
        self.box = setting.box(sigma)
        self.dims = self.box.start.size
        size = default_population_size(self.dims) if population_size is None else population_size
        self.population_size = check_population_size(size, 2)
        start = _checked(setting.choices, self.dims)
        is_choice = start.any(axis=1)
        self._chosen, self._real = np.flatnonzero(is_choice), np.flatnonzero(~is_choice)
        self._gaussian = self._make_gaussian(sigma) if self._real.size else None
        self._categorical = asng.ASNG(start[is_choice]) if self._chosen.size else None
        self._weights = _positive_weights(self.population_size)
        self._ask_jit = jax.jit(self._ask)
        self._tell_jit = jax.jit(self._tell)
        self._recommend_jit = jax.jit(self._recommend)

    @property
    def title(self) -> str:
        """What reports call the strategy."""
        return "CatCMA with margin"

    @property
    def averages(self) -> bool:
        """Whether luck in scores averages out, as it does where candidates move distributions."""
        return True

    def init(self, key: PRNGKey) -> State:
        """Return the state before the first generation."""
        return State(
            () if self._gaussian is None else self._gaussian.init(key),
            () if self._categorical is None else self._categorical.init(),
        )

    def ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        """Return one generation of genotypes, inside the bounds."""
        return self._ask_jit(key, state)

    def tell(self, key: PRNGKey, population: Population, fitness: Fitness, state: State) -> State:
        """Return the state after a generation was scored.

        Args:
            population: The genotypes as asked.
            fitness: The fitness of each, which is maximised. What is not finite ranks below every
                finite fitness; a generation without a finite one leaves the state as it was.
        """
        return self._tell_jit(key, population, fitness, state)

    def recommend(self, state: State) -> Genotype:
        """Return the mean of the real genes with the likeliest category of each choice."""
        return self._recommend_jit(state)

    def _make_gaussian(self, sigma: float) -> EvosaxStrategy:
        lower, upper, start, span = (np.asarray(part)[self._real] for part in self.box[:4])
        setting = Setting(lower, upper, start, span)
        return EvosaxStrategy(setting, CMAES, population_size=self.population_size, sigma=sigma)

    def _ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        key_reals, key_choices = jax.random.split(key)
        population = jnp.zeros((self.population_size, self.dims))
        reals = state.reals
        if self._gaussian is not None:
            values, reals = self._gaussian.ask(key_reals, state.reals)
            population = population.at[:, self._real].set(values)
        if self._categorical is not None:
            chosen = self._categorical.sample(key_choices, self.population_size, state.choices)
            population = population.at[:, self._chosen].set(self._values(chosen))
        return population, state._replace(reals=reals)

    def _tell(self, key: PRNGKey, population: Population, fitness: Fitness, state: State) -> State:
        reals, choices = state
        violation = jnp.zeros(self.population_size)
        if self._gaussian is not None:
            violation = self._gaussian.box.violation(state.reals.sample)
            reals = self._gaussian.tell(key, population[:, self._real], fitness, state.reals)
        if self._categorical is not None:
            cost, _ = to_cost(fitness, violation, jnp.float32(-jnp.inf))
            weights = share_by_rank(cost, self._weights)
            chosen = self._categories(population[:, self._chosen])
            choices = self._categorical.update(chosen, weights, state.choices)
        learned = State(reals, choices)
        return jax.lax.cond(jnp.isfinite(fitness).any(), lambda: learned, lambda: state)

    def _recommend(self, state: State) -> Genotype:
        genotype = jnp.zeros(self.dims)
        if self._gaussian is not None:
            mean = self._gaussian.box.genotype(state.reals.algorithm.mean)
            genotype = genotype.at[self._real].set(mean)
        if self._categorical is not None:
            likeliest = jnp.argmax(state.choices.probability, axis=1)
            genotype = genotype.at[self._chosen].set(self._values(likeliest))
        return genotype

    def _values(self, chosen: Int[Array, "*pop choices"]) -> Float[Array, "*pop choices"]:
        """The values of genes that stand for categories: the middles of their parts."""
        assert self._categorical is not None
        lower, upper = self.box.lower[self._chosen], self.box.upper[self._chosen]
        return lower + (chosen + 0.5) / self._categorical.counts * (upper - lower)

    def _categories(self, values: Float[Array, "*pop choices"]) -> Int[Array, "*pop choices"]:
        """The categories that genes stand for."""
        assert self._categorical is not None
        lower, upper = self.box.lower[self._chosen], self.box.upper[self._chosen]
        part = jnp.floor((values - lower) / (upper - lower) * self._categorical.counts)
        return jnp.clip(part.astype(jnp.int32), 0, self._categorical.counts - 1)


def _positive_weights(size: int) -> Float[Array, " pop"]:
    """The weights of CMA-ES by rank (Hansen, arXiv 1604.00772, eq. 48), but for negative ones."""
    weights = np.maximum(np.log((size + 1) / 2) - np.log(np.arange(1, size + 1)), 0)
    return jnp.asarray(weights / weights.sum(), jnp.float32)


def _checked(choices: Any, dims: int) -> Float[np.ndarray, "dims categories"]:
    """The probabilities of the categories of each gene, zeros for a real one."""
    start = np.zeros((dims, 1)) if choices is None else np.asarray(choices, np.float64)
    if start.ndim != 2 or len(start) != dims:
        raise ValueError(f"choices must have a row for each of {dims} genes, not {start.shape}")
    counts = (start > 0).sum(axis=1)
    packed = (start > 0) == (np.arange(start.shape[1]) < counts[:, None])
    sound = packed.all(axis=1) & (counts > 1) & (np.abs(start.sum(axis=1) - 1) < 1e-5)
    if (wrong := np.flatnonzero((start != 0).any(axis=1) & ~sound)).size:
        raise ValueError(
            f"choices of gene {int(wrong[0])} are {start[wrong[0]].tolist()}; give at least two "
            "probabilities above 0 that sum to 1, and zeros after them"
        )
    return start
