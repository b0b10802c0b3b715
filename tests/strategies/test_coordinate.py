"""Beside tests/strategies/test_every_strategy.py: what is particular to coordinate search."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.strategies import CoordinateSearch
from tests.strategies.making import make

BOX = {"lower": np.zeros(3), "upper": np.ones(3)}
KEY = jax.random.key(0)


def test_one_gene_at_a_time_up_and_down_from_the_start() -> None:
    strategy = make(CoordinateSearch, **BOX, population_size=6)
    population, state = strategy.ask(KEY, strategy.init(KEY))
    expected = 0.5 + 0.25 * np.concatenate([np.eye(3), -np.eye(3)])
    expected[0] = 0.5  # the start itself
    np.testing.assert_allclose(population, expected)
    state = strategy.tell(KEY, population, -jnp.sum((population - 0.5) ** 2, axis=1), state)
    np.testing.assert_array_equal(state.center, np.full(3, 0.5))


def test_takes_the_best_move_and_halves_the_step_when_none_helps() -> None:
    strategy = make(CoordinateSearch, **BOX, population_size=6)
    state = strategy.init(KEY)
    steps = []
    for _ in range(14):
        population, state = strategy.ask(KEY, state)
        fitness = -jnp.sum((population - jnp.array([0.75, 0.5, 0.5])) ** 2, axis=1)
        state = strategy.tell(KEY, population, fitness, state)
        steps.append(float(state.step))
    np.testing.assert_array_equal(state.center, [0.75, 0.5, 0.5])
    assert steps[:4] == [0.25, 0.25, 0.125, 0.0625]


def test_at_a_wall_the_move_outwards_turns_inwards() -> None:
    strategy = make(CoordinateSearch, **BOX, start=np.array([1.0, 0.5, 0.0]), population_size=6)
    known = strategy.init(KEY)._replace(fitness=jnp.float32(0))
    population, _ = strategy.ask(KEY, known)
    np.testing.assert_allclose(population[0], [0.875, 0.5, 0])
    np.testing.assert_allclose(population[5], [1, 0.5, 0.125])


@pytest.mark.parametrize("size", [3, 0, 2.0, True])
def test_refuses_a_population_that_is_not_even(size: object) -> None:
    with pytest.raises(ValueError, match="population_size must be"):
        make(CoordinateSearch, **BOX, population_size=size)


def test_refuses_a_step_that_is_none() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        make(CoordinateSearch, **BOX, step=0.0)
