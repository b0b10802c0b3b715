"""Searches whose first population is the models that are merged, and mixtures of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.strategies import EvosaxStrategy, Setting

EXPERTS = np.array([[0, 0, 0.3], [1, 0, 0.3], [0, 1, 0.3]], np.float32)
SETTING = Setting([0.0] * 3, [1.5] * 3, [0.75, 0.75, 0.3], experts=EXPERTS)


@pytest.mark.parametrize("algorithm", ["PSO", "DifferentialEvolution", "SimpleGA"])
def test_begins_with_the_experts_and_mixtures_of_them(algorithm: str) -> None:
    strategy = EvosaxStrategy(SETTING, algorithm, population_size=40, initial_population="experts")
    population, state = strategy.ask(jax.random.key(1), strategy.init(jax.random.key(0)))
    np.testing.assert_allclose(population[:3], EXPERTS, atol=1e-6)
    mixtures = np.asarray(population[3:], np.float64)
    shares = np.stack([1 - mixtures[:, 0] - mixtures[:, 1], mixtures[:, 0], mixtures[:, 1]], axis=1)
    assert (shares > -1e-6).all()  # the weight of the base, and of both sources
    assert (np.ptp(shares, axis=0) > 0.5).all()
    np.testing.assert_allclose(mixtures[:, 2], 0.3, atol=1e-6)
    fitness = -jnp.square(population - jnp.array([0.5, 0.9, 0.6])).sum(axis=1)
    state = strategy.tell(jax.random.key(2), population, fitness, state)
    later, _ = strategy.ask(jax.random.key(3), state)
    assert np.ptp(np.asarray(later[:, 0])) > 0
    other, _ = strategy.ask(jax.random.key(4), strategy.init(jax.random.key(0)))
    np.testing.assert_allclose(other[:3], EXPERTS, atol=1e-6)
    assert not np.allclose(other[3:], population[3:])


@pytest.mark.parametrize(
    ("setting", "algorithm", "size", "told"),
    [
        (SETTING, "CMA_ES", 8, "keeps no population"),
        (Setting([0.0] * 3, [1.0] * 3), "PSO", 8, "not every source has weights of its own"),
        (SETTING, "PSO", 2, "strategy.population_size=3 or more"),
    ],
)
def test_refuses(setting: Setting, algorithm: str, size: int, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        EvosaxStrategy(setting, algorithm, population_size=size, initial_population="experts")
