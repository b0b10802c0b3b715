"""The surrogate saves evaluations where it can, and is the strategy inside where it cannot."""

import functools
from collections.abc import Callable

import hydra.utils
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.config import compose
from evojax_merge.strategies import CMAES, EvosaxStrategy, Setting, Surrogate
from evojax_merge.strategies.surrogate import State
from tests.strategies.test_every_strategy import equal_bits, signature

DIMS = 5
LOWER, UPPER, START = np.zeros(DIMS), np.arange(1.0, DIMS + 1), np.arange(1.0, DIMS + 1) / 2
OPTIMUM = np.float32(UPPER * [0.2, 0.9, 1.0, 0.6, 0.35])

Score = Callable[[np.ndarray], np.ndarray]


def make(inner: object = CMAES, **options: object) -> Surrogate:
    partial = functools.partial(EvosaxStrategy, algorithm=inner)
    return Surrogate(Setting(LOWER, UPPER, START), partial, **{"population_size": 3} | options)


def sphere(population: np.ndarray) -> np.ndarray:
    return -np.square((np.asarray(population) - OPTIMUM) / UPPER).sum(-1)


def run(
    strategy: object, state: State, first: int, last: int, score: Score = sphere
) -> tuple[State, list[np.ndarray]]:
    populations = []
    for generation in range(first, last):
        key_ask, key_tell = jax.random.split(jax.random.fold_in(jax.random.key(2), generation))
        population, state = strategy.ask(key_ask, state)
        populations.append(np.asarray(population))
        told = jnp.asarray(score(populations[-1]), jnp.float32)
        state = strategy.tell(key_tell, population, told, state)
    return state, populations


def to_target(strategy: object, most: int = 300) -> int:
    """Evaluations until a candidate is within 1 % of the optimum."""
    generations = most // strategy.population_size
    _, populations = run(strategy, strategy.init(jax.random.key(1)), 0, generations)
    best = [sphere(population).max() for population in populations]
    reached = np.flatnonzero(np.array(best) > 0.01 * sphere(np.float32(START)))
    return int(reached[0] + 1) * strategy.population_size


@pytest.mark.slow
def test_takes_fewer_evaluations_than_the_strategy_inside() -> None:
    plain = EvosaxStrategy(Setting(LOWER, UPPER, START), CMAES)
    assert to_target(make()) < 0.75 * to_target(plain)


@pytest.mark.slow
def test_continues_from_a_saved_state_to_the_same_bits() -> None:
    strategy = make(capacity=20)  # fewer than are evaluated
    begun = strategy.init(jax.random.key(0))
    whole, populations = run(strategy, begun, 0, 20)
    half, _ = run(strategy, begun, 0, 11)
    saved = jax.tree.map(lambda leaf: jnp.asarray(np.array(leaf)), half)
    again, _ = run(make(capacity=20), saved, 11, 20)
    assert equal_bits(again, whole)
    assert signature(whole) == signature(begun)
    assert strategy._ask_jit._cache_size() == strategy._tell_jit._cache_size() == 1
    latest = sphere(np.concatenate(populations[-7:]))[1:]
    np.testing.assert_allclose(np.sort(whole.fitness), np.sort(latest), rtol=1e-6)
    assert all((p >= LOWER).all() and (p <= np.float32(UPPER)).all() for p in populations)


@pytest.mark.slow
@pytest.mark.parametrize(
    "score", [pytest.param(sphere, marks=pytest.mark.slow), lambda p: np.full(len(p), 0.5)]
)
def test_without_enough_or_with_equal_scores_it_is_the_strategy_inside(score: Score) -> None:
    """With a sphere it waits for more candidates than there will be."""
    strategy = make(warmup=12.0 if score is sphere else 1.0, oversample=2)
    state, populations = run(strategy, strategy.init(jax.random.key(0)), 0, 12, score)
    inner = EvosaxStrategy(Setting(LOWER, UPPER, START), CMAES, population_size=6)
    alone = inner.init(jax.random.key(0))
    for generation in range(6):
        ask, tell = (
            jax.random.split(jax.random.fold_in(jax.random.key(2), 2 * generation + half))[half]
            for half in range(2)
        )
        population, alone = inner.ask(ask, alone)
        np.testing.assert_array_equal(
            np.concatenate(populations[2 * generation : 2 * generation + 2]), population
        )
        alone = inner.tell(tell, population, jnp.float32(score(population)), alone)
    for one, other in zip(jax.tree.leaves(state.inner), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_failed_candidates_do_not_harm_the_state() -> None:
    def failing(population: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(population)) == 1, np.nan, sphere(population))

    strategy = make()
    state, populations = run(strategy, strategy.init(jax.random.key(0)), 0, 25, failing)
    assert np.isfinite(populations).all()
    assert sphere(np.concatenate(populations[-5:])).mean() > 0.3 * sphere(np.float32(START))
    state, _ = run(strategy, state, 25, 40, lambda p: np.full(len(p), np.nan))
    assert np.isnan(state.fitness[:40]).any()
    _, populations = run(strategy, state, 40, 44)
    assert np.isfinite(populations).all()


@pytest.mark.slow
@pytest.mark.parametrize("inner", ["SNES", "DifferentialEvolution"])
def test_another_strategy_inside(inner: str) -> None:
    strategy = make(inner)
    _, populations = run(strategy, strategy.init(jax.random.key(0)), 0, 25)
    assert sphere(np.concatenate(populations[-3:])).max() > 0.2 * sphere(np.float32(START))


def test_the_option_instantiates() -> None:
    chosen = compose(["model.sources=[x]", "strategy=surrogate", "strategy@strategy.inner=snes"])
    strategy = hydra.utils.instantiate(chosen.strategy)(Setting(LOWER, UPPER, START))
    assert strategy.population_size == 3  # a third of 8, the default of five genes
    population, _ = strategy.ask(jax.random.key(0), strategy.init(jax.random.key(0)))
    assert population.shape == (3, DIMS)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(
        ValueError, match=r"strategy\.oversample must be a whole number of at least 1, not 0.5"
    ):
        make(oversample=0.5)
    with pytest.raises(
        ValueError, match=r"strategy\.trust must be a finite number of at least -1, not nan"
    ):
        make(trust=float("nan"))
    with pytest.raises(ValueError, match="capacity is 10, and the model waits for 15 candidates"):
        make(capacity=10)


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ("m2n2", "M2N2 cannot be made inside surrogate: .*items"),
        ("map_elites", "MAPElites cannot be made inside surrogate: .*descriptors"),
        ("optuna_cma", "OptunaCMAES cannot be compiled, which surrogate needs"),
    ],
)
def test_a_strategy_that_cannot_be_inside_is_refused_by_name(inner: str, message: str) -> None:
    chosen = compose(
        ["model.sources=[x]", "strategy=surrogate", f"strategy@strategy.inner={inner}"]
    )
    with pytest.raises(ValueError, match=message):
        hydra.utils.instantiate(chosen.strategy)(Setting(LOWER, UPPER, START))


def test_recommends_what_the_strategy_inside_does() -> None:
    strategy = make()
    state = strategy.init(jax.random.key(0))
    np.testing.assert_allclose(strategy.recommend(state), START, atol=1e-6)
