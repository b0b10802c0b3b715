"""A model of the fitness in the place of most evaluations.

DTS-CMA-ES (Pitra, Bajer and Holeňa, 2016), https://doi.org/10.1007/978-3-319-45823-6_74: a
generation is larger than what is evaluated of it. A Gaussian process on the latest candidates says
which ones are worth evaluating and, once it knows those too, what the others would have scored. The
strategy inside is told the whole generation just as it drew it, so that nothing is selected before
it and its adaptation of step length and covariance is what it would be.

Departures: the process sees coordinates in which the strategy's own proposals have unit covariance,
measured on proposals, so that any strategy may stand inside; the latest candidates and not the
nearest are its data; and as in lq-CMA-ES (Hansen, 2019, https://doi.org/10.1145/3321707.3321842) it
speaks only where it predicts well, here the candidates that it does not know; where not, the rest
of the generation is evaluated as well.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import check_number, check_population_size, check_whole
from evojax_merge.params.types import (
    Array,
    Bool,
    Fitness,
    Float,
    Genotype,
    Int,
    Population,
    PRNGKey,
)
from evojax_merge.strategies.base import Strategy
from evojax_merge.strategies.factory import make_inner
from evojax_merge.strategies.gaussian_process import fit, predict
from evojax_merge.strategies.setting import Setting

_PROBES = 8
"""How many proposals for each gene the covariance of the strategy inside is measured from."""

_MOST_KNOWN = 10_000
"""How many candidates the process learns from at most: it inverts a matrix of as many rows and
columns."""

_SEEN = 0.1
"""The share that the covariance of the data has in the one used. A gene that has come to rest on a
wall of the box has no variance among the proposals, and would be all that distances are made of."""

_WORST = 3.0
"""Values count as no further below the median than so many times what the best is above it. A
few failures would otherwise be all that the process explains."""


class State(NamedTuple):
    """The state of a search with a model.

    Attributes:
        inner: The state of the strategy inside.
        genotypes: The latest candidates scored, in a ring.
        fitness: The fitness of each of these; nan where there is none, or none that is finite.
        told: How many candidates were scored so far.
        proposed: The generation of the strategy inside.
        scores: The scores known of that generation, nan where not finite.
        scored: Whether each of that generation is scored; all are once the strategy inside was
            told.
        asked: The places in that generation of the candidates that are being scored.
    """

    inner: Any
    genotypes: Float[Array, "capacity dims"]
    fitness: Float[Array, " capacity"]
    told: Int[Array, ""]
    proposed: Float[Array, "proposals dims"]
    scores: Float[Array, " proposals"]
    scored: Bool[Array, " proposals"]
    asked: Int[Array, " pop"]


class _Prediction(NamedTuple):
    ready: Bool[Array, ""]
    mean: Float[Array, " proposals"]
    deviation: Float[Array, " proposals"]


class Surrogate(Strategy):
    """A strategy that evaluates only the promising ones of another strategy's proposals.

    Where the process can be trusted, a generation takes ``population_size`` evaluations, chosen by
    the upper confidence bound. Otherwise it takes as many times that as evaluate all. ``ask``,
    ``tell`` and what is inside are compiled together, so that the methods of the strategy inside
    must be traceable.

    Args:
        setting: The search that the strategy is for.
        inner: A function of setting and population_size that makes the strategy inside.
        population_size: How many candidates are scored at a time; None for a generation of the
            strategy inside, by its own default, divided by ``oversample``.
        oversample: How many proposals there are for each candidate scored.
        capacity: How many of the latest candidates the process learns from.
        warmup: How many candidates are scored before the process may speak, for each gene.
        exploration: How many deviations are added to the predicted mean where candidates are
            chosen.
        trust: The process may speak if its leave-one-out predictions have at least this correlation
            with the scores.

    Raises:
        ValueError: A number is out of its range, or ``capacity`` is less than ``warmup`` asks for.
    """

    uses_span = True

    def __init__(
        self,
        setting: Setting,
        inner: Callable[..., Any],
        *,
        population_size: int | None = None,
        oversample: int = 3,
        capacity: int = 96,
        warmup: float = 3.0,
        exploration: float = 1.0,
        trust: float = 0.5,
    ) -> None:
        self._lower, self._upper = (
            np.asarray(bound, np.float32) for bound in (setting.lower, setting.upper)
        )
        self.dims = len(self._lower)
        if population_size is not None:
            check_population_size(population_size, 1)
        check_whole("strategy.oversample", oversample, 1, 1_000)
        check_whole("strategy.capacity", capacity, 2, _MOST_KNOWN)
        check_number("strategy.warmup", warmup, 0)
        check_number("strategy.exploration", exploration, 0)
        check_number("strategy.trust", trust, -1)
        self._least = max(2, round(warmup * self.dims))
        if self._least > capacity:
            raise ValueError(
                f"strategy.capacity is {capacity}, and the model waits for {self._least} "
                f"candidates ({warmup:g} times {self.dims} genes); raise capacity, or lower warmup"
            )
        make = functools.partial(make_inner, "surrogate", inner, setting)
        if population_size is None:
            population_size = -(-make().population_size // oversample)
        self.population_size = population_size
        self._inner = make(population_size=population_size * oversample)
        self._capacity, self._exploration, self._trust = capacity, exploration, trust
        self._init_jit = jax.jit(self._init)
        self._ask_jit = jax.jit(self._ask)
        self._tell_jit = jax.jit(self._tell)
        key = jax.random.key(0)
        try:
            jax.eval_shape(lambda: self._ask(key, self._init(key)))
        except TypeError as error:  # JAX's, of a method that cannot be traced
            raise ValueError(
                f"strategy.inner: {self._inner.name} cannot be compiled, which surrogate "
                "needs; use one of evosax's, e.g. strategy@strategy.inner=cma_es"
            ) from error

    def recommend(self, state: State) -> Genotype | None:
        """Return what the strategy inside recommends."""
        return self._inner.recommend(state.inner)

    def init(self, key: PRNGKey) -> State:
        """Return the state before the first generation."""
        return self._init_jit(key)

    def ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        """Return the candidates to score next, of a new generation or of one not known enough."""
        return self._ask_jit(key, state)

    def tell(self, key: PRNGKey, population: Population, fitness: Fitness, state: State) -> State:
        """Return the state after they were scored; what is not finite teaches the model nothing."""
        return self._tell_jit(key, population, fitness, state)

    def _init(self, key: PRNGKey) -> State:
        proposals = self._inner.population_size
        return State(
            inner=self._inner.init(key),
            genotypes=jnp.zeros((self._capacity, self.dims)),
            fitness=jnp.full(self._capacity, jnp.nan),
            told=jnp.int32(0),
            proposed=jnp.zeros((proposals, self.dims)),
            scores=jnp.full(proposals, jnp.nan),
            scored=jnp.ones(proposals, bool),
            asked=jnp.arange(self.population_size, dtype=jnp.int32),
        )

    def _ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        def propose() -> State:
            proposed, inner = self._inner.ask(key, state.inner)
            return state._replace(
                inner=inner,
                proposed=proposed,
                scores=jnp.full_like(state.scores, jnp.nan),
                scored=jnp.zeros_like(state.scored),
            )

        state = jax.lax.cond(state.scored.all(), propose, lambda: state)
        ready, mean, deviation = self._predict(state)
        worth = jnp.where(ready, mean + self._exploration * deviation, 0.0)
        worth = jnp.where(state.scored, -jnp.inf, worth)
        asked = jnp.argsort(-worth, stable=True)[: self.population_size].astype(jnp.int32)
        return state.proposed[asked], state._replace(asked=asked)

    def _tell(self, key: PRNGKey, population: Population, fitness: Fitness, state: State) -> State:
        fitness = jnp.where(jnp.isfinite(fitness), fitness, jnp.nan).astype(jnp.float32)
        place = (state.told + jnp.arange(len(fitness))) % self._capacity
        state = state._replace(
            genotypes=state.genotypes.at[place].set(population),
            fitness=state.fitness.at[place].set(fitness),
            told=state.told + len(fitness),
            scores=state.scores.at[state.asked].set(fitness),
            scored=state.scored.at[state.asked].set(True),
        )
        ready, mean, _ = self._predict(state)

        def pass_on() -> State:
            told = jnp.where(state.scored, state.scores, mean)
            inner = self._inner.tell(key, state.proposed, told, state.inner)
            return state._replace(inner=inner, scored=jnp.ones_like(state.scored))

        return jax.lax.cond(ready | state.scored.all(), pass_on, lambda: state)

    def _predict(self, state: State) -> _Prediction:
        """What the model says of the generation of the strategy inside."""
        known = jnp.isfinite(state.fitness)

        def silent() -> _Prediction:
            zeros = jnp.zeros(len(state.proposed))
            return _Prediction(jnp.bool_(False), zeros, zeros)

        def speak() -> _Prediction:
            factor = self._spread(state)
            data, asked = (_whitened(factor, x) for x in (state.genotypes, state.proposed))
            fitted = fit(data, _bounded(state.fitness, known), known)
            mean, deviation = predict(fitted, asked, known)
            return _Prediction(fitted.agreement >= self._trust, mean, deviation)

        return jax.lax.cond(known.sum() >= self._least, speak, silent)

    def _spread(self, state: State) -> Float[Array, "dims dims"]:
        """The Cholesky factor of the covariance in which the model measures distances."""
        repeats = -(-_PROBES * self.dims // len(state.proposed))
        keys = jax.random.split(jax.random.key(0), repeats)
        probes = jax.vmap(lambda key: self._inner.ask(key, state.inner)[0])(keys)
        probes = probes.reshape(-1, self.dims) / (self._upper - self._lower)
        known = jnp.isfinite(state.fitness)
        seen = state.genotypes / (self._upper - self._lower)
        covariance = (1 - _SEEN) * _shape(probes, jnp.ones(len(probes), bool))
        covariance = covariance + _SEEN * _shape(seen, known) + 1e-6 * jnp.eye(self.dims)
        return jnp.diag(self._upper - self._lower) @ jnp.linalg.cholesky(covariance)


def _shape(
    genotypes: Float[Array, "rows dims"], rows: Bool[Array, " rows"]
) -> Float[Array, "dims dims"]:
    """The covariance of some rows, scaled to a mean variance of 1."""
    count = rows.sum()
    mean = jnp.where(rows[:, None], genotypes, 0).sum(axis=0) / count
    centred = jnp.where(rows[:, None], genotypes - mean, 0)
    covariance = centred.T @ centred / count
    return covariance / jnp.maximum(jnp.diagonal(covariance).mean(), 1e-20)


def _whitened(
    factor: Float[Array, "dims dims"], genotypes: Float[Array, "rows dims"]
) -> Float[Array, "rows dims"]:
    return jax.scipy.linalg.solve_triangular(factor, genotypes.T, lower=True).T


def _bounded(fitness: Float[Array, " rows"], known: Bool[Array, " rows"]) -> Float[Array, " rows"]:
    best = jnp.max(jnp.where(known, fitness, -jnp.inf))
    median = jnp.nanmedian(jnp.where(known, fitness, jnp.nan))
    return jnp.maximum(fitness, median - _WORST * (best - median))
