"""Optuna's CMA-ES sampler, as the paper used it (Akiba et al., 2019; Nomura & Shibata, 2024).

[1] Optuna, https://arxiv.org/abs/1907.10902
[2] cmaes, https://arxiv.org/abs/2402.01373

A study lives in this process; the state of the search is what it was told. Where the two do not
correspond, after a resume above all, a fresh study with the same seed is told everything again. It
then proposes the same candidates, to the bit.

Departure: Optuna draws the first trial of a study at random, to learn which parameters there are.
Here they are known, and CMA-ES proposes all candidates.
"""

import importlib
import math
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from evojax_merge.documents.arguments import check_population_size, check_whole
from evojax_merge.params.types import Fitness, Population, PRNGKey
from evojax_merge.strategies.base import Strategy, default_population_size
from evojax_merge.strategies.setting import Setting

_WORST = -3e38
"""The fitness told for a candidate without a finite one; the sampler compares ranks only."""


class State(NamedTuple):
    """The state of a search; structure, shapes and dtypes never change after ``init``."""

    seed: Int[Array, ""]
    told: Int[Array, ""]  # how many rows below are filled
    genotypes: Float[Array, "evaluations dims"]
    fitness: Float[Array, " evaluations"]


class _Position(NamedTuple):
    """A study that was told all of a state, and what it proposes next."""

    told: tuple[int, bytes, bytes]
    study: Any
    trials: list[Any]
    population: np.ndarray


class OptunaCMAES(Strategy):
    """Optuna's CmaEsSampler as a strategy.

    It starts in the middle with a sixth of the range as deviation, and resamples at the bounds.

    Args:
        setting: The search that the strategy is for.
        evaluations: How many candidates the search may have.
        population_size: How many candidates a generation has; None for 4 + ⌊3 ln dims⌋, the
            sampler's default.

    Raises:
        ValueError: Optuna is not installed, a number is impossible, or ``make_box`` refuses the
            box.
    """

    averages = True

    def __init__(
        self,
        setting: Setting,
        *,
        evaluations: int,
        population_size: int | None = None,
    ) -> None:
        optuna = self._optuna = _imported()
        self.box = setting.box(1 / 6)
        self.dims = self.box.start.size
        size = default_population_size(self.dims) if population_size is None else population_size
        check_whole("search.evaluations", evaluations, 1)
        self.population_size = size = check_population_size(size, 3)
        self.capacity = size * math.ceil(evaluations / size)
        low, high = (np.asarray(bound, np.float64) for bound in (self.box.lower, self.box.upper))
        # Zero-padded: Optuna orders parameters by name.
        self._names = [f"{gene:0{len(str(self.dims))}}" for gene in range(self.dims)]
        self._distributions = {
            name: optuna.distributions.FloatDistribution(low[gene], high[gene])
            for gene, name in enumerate(self._names)
        }
        begin = np.asarray(self.box.start, np.float64)
        self._start = dict(zip(self._names, begin.tolist(), strict=True))
        self._centred = np.array_equal(self.box.start, (self.box.lower + self.box.upper) / 2)
        self._position: _Position | None = None

    def init(self, key: PRNGKey) -> State:
        """Return the state before the first generation."""
        return State(
            seed=jax.random.randint(key, (), 0, np.iinfo(np.int32).max),
            told=jnp.int32(0),
            genotypes=jnp.zeros((self.capacity, self.dims), jnp.float32),
            fitness=jnp.zeros(self.capacity, jnp.float32),
        )

    def ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        """Return one generation of genotypes, inside the bounds."""
        return jnp.asarray(self._at(state).population), state

    def tell(self, key: PRNGKey, population: Population, fitness: Fitness, state: State) -> State:
        """Return the state after a generation was scored; what is not finite ranks last.

        Raises:
            ValueError: There are more evaluations than there is room for.
        """
        position, first = self._at(state), int(state.told)
        last = first + self.population_size
        if last > self.capacity:
            raise ValueError(
                f"the search has room for {self.capacity} evaluations and is told more; set "
                "strategy.evaluations"
            )
        scores = np.asarray(fitness, np.float32)
        scores = np.where(np.isfinite(scores), scores, np.float32(_WORST))
        state = State(
            seed=state.seed,
            told=jnp.int32(last),
            genotypes=state.genotypes.at[first:last].set(position.population),
            fitness=state.fitness.at[first:last].set(scores),
        )
        self._position = self._advance(position, scores, _told(state))
        return state

    def _at(self, state: State) -> _Position:
        """The study of a state: the one at hand, or one that is told everything again."""
        wanted = _told(state)
        if self._position is None or self._position.told != wanted:
            position = self._begin(wanted[0])
            for first in range(0, int(state.told), self.population_size):
                rows = slice(first, first + self.population_size)
                if not np.array_equal(position.population, state.genotypes[rows]):
                    raise ValueError(
                        "Optuna does not propose again what this search was told; it was begun "
                        "with another version of optuna or cmaes, or on another machine"
                    )
                position = self._advance(position, np.asarray(state.fitness[rows]), wanted)
            self._position = position._replace(told=wanted)
        return self._position

    def _begin(self, seed: int) -> _Position:
        optuna = self._optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # x0 is to be removed in Optuna 6
            sampler = optuna.samplers.CmaEsSampler(
                seed=seed,
                popsize=self.population_size,
                x0=None if self._centred else self._start,
                warn_independent_sampling=False,
            )
        study = optuna.create_study(sampler=sampler, direction="maximize")
        # It tells which parameters there are; CMA-ES learns from its own proposals only.
        study.add_trial(
            optuna.trial.create_trial(
                params=self._start, distributions=self._distributions, value=0.0
            )
        )
        return self._propose(study, (seed, b"", b""))

    def _advance(
        self, position: _Position, scores: np.ndarray, told: tuple[int, bytes, bytes]
    ) -> _Position:
        for trial, score in zip(position.trials, scores.tolist(), strict=True):
            position.study.tell(trial, score)
        return self._propose(position.study, told)

    def _propose(self, study: Any, told: tuple[int, bytes, bytes]) -> _Position:
        trials = [study.ask(self._distributions) for _ in range(self.population_size)]
        rows = [[trial.params[name] for name in self._names] for trial in trials]
        return _Position(told, study, trials, np.asarray(rows, np.float32))


def _told(state: State) -> tuple[int, bytes, bytes]:
    """All that a study depends on."""
    rows = slice(int(state.told))
    genotypes, fitness = np.asarray(state.genotypes)[rows], np.asarray(state.fitness)[rows]
    return int(state.seed), genotypes.tobytes(), fitness.tobytes()


def _imported() -> Any:
    """Import Optuna, which takes a second, for searches that ask for it.

    Raises:
        ValueError: Optuna or cmaes is not installed.
    """
    try:
        importlib.import_module("cmaes")
        return importlib.import_module("optuna")
    except ImportError:
        raise ValueError(
            "strategy=optuna_cma needs Optuna and cmaes: pip install 'evojax-merge[optuna]'"
        ) from None
