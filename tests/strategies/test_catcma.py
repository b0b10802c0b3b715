"""CatCMA: against its authors' code, on simple functions, and what it refuses."""

from types import SimpleNamespace

import cmaes
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.strategies import CatCMA, Setting
from evojax_merge.strategies.asng import ASNG
from evojax_merge.strategies.catcma import State

# A real gene, one of two categories, two real genes, one of three categories, one of two.
LOWER = np.array([-100.0, -1, -100, -100, 0, -1], np.float32)
UPPER = np.array([100.0, 1, 100, 100, 3, 1], np.float32)
CHOICES = np.array([[0, 0, 0], [0.3, 0.7, 0], [0, 0, 0], [0, 0, 0], [0.2, 0.5, 0.3], [0.5, 0.5, 0]])
REAL, CHOSEN, COUNTS = [0, 2, 3], [1, 4, 5], np.array([2, 3, 2])
SPAN = np.full(6, 6.0, np.float32)  # with the default sigma a deviation of 1


def make(**options: object) -> CatCMA:
    return CatCMA(Setting(LOWER, UPPER, span=SPAN, choices=CHOICES), **options)


def categories(population: np.ndarray) -> np.ndarray:
    part = (population - LOWER) / (UPPER - LOWER)
    return np.floor(part[..., CHOSEN] * COUNTS).astype(int)


def cost(population: np.ndarray) -> np.ndarray:
    """An ellipsoid of the real genes, and a category of each choice that is best."""
    reals = (population[:, REAL] - [3.0, -2.0, 1.0]) * [1.0, 3.0, 9.0]
    return np.square(reals).sum(axis=1) + 5.0 * (categories(population) != [0, 2, 1]).sum(axis=1)


def evolve(strategy: CatCMA, state: State, first: int, last: int) -> State:
    for generation in range(first, last):
        key_ask, key_tell = jax.random.split(jax.random.fold_in(jax.random.key(3), generation))
        population, state = strategy.ask(key_ask, state)
        fitness = -cost(np.asarray(population))
        state = strategy.tell(key_tell, population, jnp.asarray(fitness, jnp.float32), state)
    return state


def test_learns_as_the_code_of_its_authors() -> None:
    strategy = make(population_size=9)
    reference = cmaes.CatCMAwM(
        x_space=[[-1e6, 1e6]] * 3,
        c_space=COUNTS.tolist(),
        population_size=9,
        mean=np.zeros(3),
        cov=np.eye(3),
        cat_param=np.array(CHOICES[CHOSEN]),
    )
    # The authors' code begins with the probabilities as they are, without the margin.
    state = strategy.init(jax.random.key(0))
    np.testing.assert_allclose(state.choices.probability, reference._q, atol=1e-6)
    for generation in range(25):
        population, state = strategy.ask(jax.random.key(generation), state)
        genes = np.asarray(population, np.float64)
        costs = cost(genes)
        one_hot = np.arange(3) == categories(genes)[..., None]
        told = [
            (SimpleNamespace(_v_raw=reals, c=chosen), value)
            for reals, chosen, value in zip(genes[:, REAL], one_hot, costs, strict=True)
        ]
        reference.tell(told)
        fitness = jnp.asarray(-costs, jnp.float32)
        state = strategy.tell(jax.random.key(0), population, fitness, state)
        algorithm, choices = state.reals.algorithm, state.choices
        np.testing.assert_allclose(algorithm.mean, reference._mean, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(algorithm.std, reference._sigma, rtol=1e-3)
        np.testing.assert_allclose(algorithm.C, reference._C, rtol=3e-3, atol=1e-3)
        np.testing.assert_allclose(choices.probability, reference._q, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(choices.caution, reference._Delta, rtol=1e-3)


def test_finds_the_best_categories_and_the_optimum_of_the_real_genes() -> None:
    strategy = make()
    state = evolve(strategy, strategy.init(jax.random.key(0)), 0, 80)
    best = np.asarray(strategy.recommend(state))
    np.testing.assert_allclose(best[REAL], [3.0, -2.0, 1.0], atol=0.02)
    np.testing.assert_array_equal(best[CHOSEN], [-0.5, 2.5, 0.5])
    assert cost(best[None])[0] < 1e-3 * cost(np.zeros((1, 6)))[0]
    assert strategy._ask_jit._cache_size() == strategy._tell_jit._cache_size() == 1


def test_continues_from_a_saved_state_to_the_same_bits() -> None:
    strategy = make()
    whole = evolve(strategy, strategy.init(jax.random.key(0)), 0, 12)
    saved = jax.tree.map(np.array, evolve(strategy, strategy.init(jax.random.key(0)), 0, 5))
    again = evolve(strategy, jax.tree.map(jnp.asarray, saved), 5, 12)
    for one, other in zip(*map(jax.tree.leaves, (again, whole)), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
        assert (one.dtype, one.weak_type) == (other.dtype, other.weak_type)


@pytest.mark.parametrize("genes", [CHOSEN, [0, 1]])
def test_searches_choices_alone_and_a_single_real_gene(genes: list[int]) -> None:
    setting = Setting(LOWER[genes], UPPER[genes], span=SPAN[genes], choices=CHOICES[genes])
    strategy = CatCMA(setting, population_size=6)
    state = strategy.init(jax.random.key(0))
    target = np.where(CHOICES[genes].any(axis=1), LOWER[genes] + 0.5, 2.0)
    for generation in range(40):
        population, state = strategy.ask(jax.random.key(generation), state)
        distance = np.square(np.asarray(population) - target).sum(axis=1)
        state = strategy.tell(jax.random.key(0), population, -jnp.asarray(distance), state)
    np.testing.assert_allclose(strategy.recommend(state), target, atol=0.05)


def test_draws_categories_by_their_probabilities_and_keeps_every_one() -> None:
    start = np.array([[0.3, 0.7, 0, 0], [0.1, 0.2, 0.3, 0.4], [0.5, 0.3, 0.2, 0]])
    categorical = ASNG(start)
    drawn = np.asarray(categorical.sample(jax.random.key(0), 40_000, categorical.init()))
    shares = (np.arange(4) == drawn[..., None]).mean(axis=0)
    np.testing.assert_allclose(shares, start, atol=0.01)
    state = categorical.init()
    for _ in range(200):  # one and the same candidate is best
        state = categorical.update(jnp.zeros((2, 3), jnp.int32), jnp.float32([1, 0]), state)
    margin = (1 - 0.73 ** (1 / 3)) / (np.array([2, 4, 3]) - 1)
    for row, least, count in zip(np.asarray(state.probability), margin, [2, 4, 3], strict=True):
        np.testing.assert_allclose(row[1:count], least, rtol=1e-4)
        np.testing.assert_allclose(row.sum(), 1, rtol=1e-6)
    assert all(np.isfinite(leaf).all() for leaf in state)


def test_a_failed_generation_teaches_nothing() -> None:
    strategy = make()
    population, asked = strategy.ask(jax.random.key(1), strategy.init(jax.random.key(0)))
    failed = jnp.full(strategy.population_size, jnp.nan)
    state = strategy.tell(jax.random.key(2), population, failed, asked)
    for one, other in zip(*map(jax.tree.leaves, (state, asked)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ([0.5, 0.6, 0], "sum to 1"),
        ([1.0, 0, 0], "at least two"),
        ([0.5, 0, 0.5], "zeros after them"),
        ([-0.5, 1.5, 0], "above 0"),
    ],
)
def test_refuses_probabilities_that_are_none(row: list[float], told: str) -> None:
    choices = CHOICES.copy()
    choices[4] = row
    with pytest.raises(ValueError, match=told) as caught:
        CatCMA(Setting(LOWER, UPPER, choices=choices))
    assert "gene 4" in str(caught.value)
    with pytest.raises(ValueError, match="a row for each of 6 genes"):
        CatCMA(Setting(LOWER, UPPER, choices=CHOICES[:2]))
