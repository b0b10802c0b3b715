from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.strategies.shaping import rank_weights, to_cost

WEIGHTS = jnp.array([0.5, 0.3, 0.2, -0.1, -0.3])


def weigh(cost: list[float]) -> np.ndarray:
    params = SimpleNamespace(weights=WEIGHTS)
    return np.asarray(rank_weights(jnp.zeros((5, 1)), jnp.array(cost), None, params))


def test_distinct_costs_take_the_weight_of_their_rank() -> None:
    np.testing.assert_array_equal(
        weigh([3.0, 1.0, 5.0, 2.0, 4.0]), WEIGHTS[jnp.array([2, 0, 4, 1, 3])]
    )


def test_equal_costs_share_their_weights() -> None:
    np.testing.assert_allclose(
        weigh([1.0, 1.0, 2.0, 3.0, 3.0]), [0.4, 0.4, 0.2, -0.2, -0.2], rtol=1e-5
    )
    np.testing.assert_allclose(weigh([7.0] * 5), [0.12] * 5, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_the_worst(bad: float) -> None:
    fitness = jnp.array([0.2, bad, 0.0, 0.9])
    violation = jnp.array([0.0, 0.0, 4.0, 0.0])
    cost, worst = to_cost(fitness, violation, jnp.float32(-jnp.inf))
    assert np.argmax(cost) == 1
    assert cost[1] > worst
    assert np.argmin(cost) == 3
    cost, _ = to_cost(fitness, violation, jnp.float32(50.0))
    assert cost[1] > 50.0


def test_penalty_follows_the_spread_of_the_fitness() -> None:
    violation = jnp.array([0.0, 0.5, 0.0])
    for scale in (1e-3, 1.0, 1e3):
        cost, _ = to_cost(scale * jnp.array([0.0, 2.0, 1.0]), violation, jnp.float32(-jnp.inf))
        np.testing.assert_allclose(cost, scale * np.array([0.0, -1.0, -1.0]), rtol=1e-5)
    cost, _ = to_cost(jnp.full(3, 0.25), violation, jnp.float32(-jnp.inf))
    assert cost[1] > cost[0] == cost[2]


def test_extreme_fitness_stays_finite() -> None:
    fitness = jnp.array([3e38, -3e38, jnp.nan])
    cost, _ = to_cost(fitness, jnp.zeros(3), jnp.float32(-jnp.inf))
    assert np.isfinite(cost).all()
    assert cost[0] < cost[1] <= cost[2]
