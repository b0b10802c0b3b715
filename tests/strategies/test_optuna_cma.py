import sys

import cmaes
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.strategies import OptunaCMAES
from evojax_merge.strategies.optuna_cma import State
from tests.strategies.making import make

LOWER, UPPER = np.array([-1.0, 0, 0, 2], np.float32), np.array([1.0, 1, 0.1, 4], np.float32)
OPTIMUM = LOWER + (UPPER - LOWER) * np.array([0.8, 0.25, 0.7, 0.6], np.float32)
BOX = {"lower": LOWER, "upper": UPPER, "evaluations": 160}
KEY = jax.random.key(3)


def sphere(population: np.ndarray) -> np.ndarray:
    return -(((np.asarray(population) - OPTIMUM) / (UPPER - LOWER)) ** 2).sum(axis=1)


def evolve(strategy: OptunaCMAES, state: State, generations: int) -> tuple[State, list[np.ndarray]]:
    asked = []
    for _ in range(generations):
        population, state = strategy.ask(KEY, state)
        state = strategy.tell(KEY, population, jnp.asarray(sphere(population)), state)
        asked.append(np.asarray(population))
    return state, asked


def test_improves_a_sphere_inside_the_bounds() -> None:
    strategy = make(OptunaCMAES, **BOX)
    assert strategy.population_size == cmaes.CMA(np.zeros(4), 1.0).population_size
    state, asked = evolve(strategy, strategy.init(KEY), 20)
    assert max(sphere(population).max() for population in asked) > -1e-3
    assert all(((p >= LOWER) & (p <= UPPER)).all() for p in asked)
    np.testing.assert_array_equal(state.genotypes, np.concatenate(asked))


def test_continues_in_another_process_to_the_same_bits() -> None:
    whole, asked = evolve(make(OptunaCMAES, **BOX), make(OptunaCMAES, **BOX).init(KEY), 8)
    first = make(OptunaCMAES, **BOX)
    half, _ = evolve(first, first.init(KEY), 4)
    restored = jax.tree.map(jnp.asarray, jax.tree.map(np.array, half))
    resumed, again = evolve(make(OptunaCMAES, **BOX), restored, 4)
    np.testing.assert_array_equal(again, asked[4:])
    for one, other in zip(resumed, whole, strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
        assert (one.dtype, one.shape) == (other.dtype, other.shape)


def test_asking_twice_asks_the_same_and_seeds_differ() -> None:
    strategy = make(OptunaCMAES, **BOX)
    state, _ = evolve(strategy, strategy.init(KEY), 2)
    (one, _), (other, _) = strategy.ask(KEY, state), strategy.ask(KEY, state)
    np.testing.assert_array_equal(one, other)
    elsewhere, _ = strategy.ask(KEY, strategy.init(jax.random.key(4)))
    again, _ = strategy.ask(KEY, strategy.init(KEY))
    assert not np.array_equal(elsewhere, again)


def test_the_first_generation_stands_around_the_start_at_a_sixth_of_the_range() -> None:
    many = make(OptunaCMAES, lower=np.zeros(2), upper=np.array([1.0, 9.0]), evaluations=300,
                       start=np.array([0.6, 3.6]), population_size=300)  # fmt: skip
    population = np.asarray(many.ask(KEY, many.init(KEY))[0]) / [1.0, 9.0]
    np.testing.assert_allclose(population.mean(axis=0), [0.6, 0.4], atol=0.03)
    np.testing.assert_allclose(population.std(axis=0), 1 / 6, rtol=0.15)


def test_failures_rank_last() -> None:
    strategy = make(OptunaCMAES, **BOX)
    state = strategy.init(KEY)
    for _ in range(10):
        population, state = strategy.ask(KEY, state)
        scores = sphere(population)
        scores[:2] = np.nan, np.inf
        state = strategy.tell(KEY, population, jnp.asarray(scores), state)
    assert np.isfinite(state.fitness).all()
    assert sphere(population).mean() > sphere(state.genotypes[: len(population)]).mean()


def test_refuses_what_optuna_would_not_propose_again() -> None:
    strategy = make(OptunaCMAES, **BOX)
    state, _ = evolve(strategy, strategy.init(KEY), 2)
    other = state._replace(genotypes=state.genotypes + 0.01)
    with pytest.raises(ValueError, match="another version of optuna"):
        make(OptunaCMAES, **BOX).ask(KEY, other)


def test_refuses_more_evaluations_than_it_has_room_for() -> None:
    strategy = make(OptunaCMAES, **(BOX | {"evaluations": 9}))
    with pytest.raises(ValueError, match=r"room for 16 evaluations.*strategy\.evaluations"):
        evolve(strategy, strategy.init(KEY), 3)


def test_refuses_without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r"pip install 'evojax-merge\[optuna\]'"):
        make(OptunaCMAES, **BOX)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"population_size": 2}, "population_size must be a whole number of at least 3, not 2"),
        ({"evaluations": 0}, "evaluations must be a whole number of at least 1"),
        ({"start": np.full(4, 5.0)}, "start must lie within the bounds"),
    ],
)
def test_refuses(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(OptunaCMAES, **(BOX | changes))
