import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.strategies import GridSearch
from evojax_merge.strategies.grid import State
from tests.strategies.making import make

LOWER, UPPER = np.array([-1.0, 0.1, 2.0], np.float32), np.array([1.0, 0.7, 3.0], np.float32)


def everything(strategy: GridSearch, generations: int, state: State | None = None) -> np.ndarray:
    state = strategy.init(jax.random.key(0)) if state is None else state
    asked = []
    for generation in range(generations):
        key = jax.random.key(generation)
        population, state = strategy.ask(key, state)
        state = strategy.tell(key, population, jnp.zeros(len(population)), state)
        asked.append(np.asarray(population))
    return np.concatenate(asked)


def test_every_combination_once_with_the_bounds_among_them() -> None:
    strategy = make(GridSearch, lower=LOWER, upper=UPPER, evaluations=30, population_size=9)
    assert (strategy.points, strategy.combinations) == (3, 27)
    found = everything(strategy, 3)
    axes = [np.array([low, (low + high) / 2, high]) for low, high in zip(LOWER, UPPER, strict=True)]
    expected = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (found.min(axis=0) == LOWER).all()
    assert (found.max(axis=0) == UPPER).all()


def test_what_the_budget_leaves_is_drawn_in_the_box() -> None:
    strategy = make(GridSearch, lower=LOWER, upper=UPPER, evaluations=30, population_size=10)
    rest = everything(strategy, 5)[27:]
    assert len(np.unique(rest, axis=0)) == len(rest) == 23
    assert (rest >= LOWER).all()
    assert (rest <= UPPER).all()


def test_continues_from_a_saved_state() -> None:
    strategy = make(GridSearch, lower=LOWER, upper=UPPER, evaluations=27, population_size=5)
    whole = everything(strategy, 5)
    np.testing.assert_array_equal(everything(strategy, 1, State(jnp.int32(20)))[:5], whole[20:25])


def test_finds_the_nearest_combination_of_a_sphere() -> None:
    strategy = make(GridSearch, lower=LOWER, upper=UPPER, evaluations=1000, points=10)
    optimum = LOWER + 0.36 * (UPPER - LOWER)
    found = everything(strategy, -(-1000 // strategy.population_size))[:1000]
    best = found[np.argmin((((found - optimum) / (UPPER - LOWER)) ** 2).sum(axis=1))]
    np.testing.assert_allclose((best - LOWER) / (UPPER - LOWER), 1 / 3, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"points": 4},
            r"4 points for each of 3 genes has 4\^3 combinations, more than the 30",
        ),
        ({"evaluations": 7}, r"2\^3 combinations, more than the 7 evaluations.*fewer genes"),
        ({"lower": np.zeros(2000), "upper": np.ones(2000)}, r"2\^2000 combinations"),
        ({"points": 1}, "points must be a whole number of at least 2, not 1"),
        ({"evaluations": 0}, "evaluations must be"),
        ({"population_size": 2.5}, "population_size must be"),
        ({"upper": LOWER}, "lower must be below upper"),
    ],
)
def test_refuses(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(GridSearch, **({"lower": LOWER, "upper": UPPER, "evaluations": 30} | changes))
