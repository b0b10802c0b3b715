"""Memetic search: begins where the descent ends, learns on its way, resumes to the bit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge import api, evolve
from evojax_merge.config import compose
from evojax_merge.gradient import GradientDescent, Memetic
from evojax_merge.search.history import read_history
from evojax_merge.strategies import CMAES, EvosaxStrategy, Setting, cma_es
from evojax_merge.strategies.injection import limit_step
from tests.gradient.models import Bowl

LOWER, UPPER, START = np.zeros(4), np.full(4, 2.0), np.ones(4)
OPTIMUM = np.float32([0.2, 1.9, 1.0, 0.6])


def make(inner="CMA_ES", optimum=OPTIMUM, **options):
    algorithm = CMAES if inner == "CMA_ES" else inner
    partial = functools.partial(EvosaxStrategy, algorithm=algorithm, population_size=6)
    strategy = Memetic(Setting(LOWER, UPPER, START), partial, **options)
    strategy._descent._bound = Bowl(optimum)
    return strategy


def sphere(population):
    return -np.square(np.asarray(population) - OPTIMUM).sum(-1)


def run(strategy, state, first, last, score=sphere):
    populations = []
    for generation in range(first, last):
        key_ask, key_tell = jax.random.split(jax.random.fold_in(jax.random.key(3), generation))
        population, state = strategy.ask(key_ask, state)
        populations.append(np.asarray(population))
        state = strategy.tell(key_tell, population, jnp.asarray(score(population)), state)
    return state, populations


def signature(state):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), state)


@pytest.mark.slow
@pytest.mark.parametrize("inner", ["CMA_ES", "SNES", "DifferentialEvolution"])
def test_continues_from_a_saved_state_to_the_same_bits(inner):
    strategy = make(inner)
    begun = strategy.init(jax.random.key(0))
    whole, populations = run(strategy, begun, 0, 8)
    half, _ = run(strategy, begun, 0, 3)
    saved = jax.tree.map(lambda leaf: jnp.asarray(np.array(leaf)), half)
    again, _ = run(make(inner), saved, 3, 8)  # another process begins anew
    jax.tree.map(np.testing.assert_array_equal, again, whole)
    assert signature(whole) == signature(begun)
    assert all((p >= LOWER).all() and (p <= UPPER).all() for p in populations)
    assert max(sphere(p).max() for p in populations) > 0.1 * sphere(START)


def test_begins_where_the_descent_ends_and_scores_that_too():
    strategy = make(start_steps=40, local_steps=0)
    _, (population,) = run(strategy, strategy.init(jax.random.key(0)), 0, 1)
    np.testing.assert_allclose(population[-1], OPTIMUM, atol=0.1)
    assert np.abs(population.mean(0) - OPTIMUM).max() < 0.5


def test_a_local_step_starts_from_the_best_so_far():
    strategy = make(start_steps=0, local_steps=3, every=2, learning_rate=1e-4)
    state, first = run(strategy, strategy.init(jax.random.key(0)), 0, 2)
    seen = np.concatenate(first)
    best = seen[sphere(seen).argmax()]
    population, _ = strategy.ask(jax.random.key(9), state)
    np.testing.assert_allclose(population[-1], best, atol=1e-3)
    assert sphere(population[-1]) > sphere(best)


def test_gradients_are_counted():
    strategy = make(start_steps=10, local_steps=3, every=2)
    state, _ = run(strategy, strategy.init(jax.random.key(0)), 0, 5)
    assert strategy.spent(state) == 3 * 4 * (10 + 3 * 2)  # local in generations 2 and 4


@pytest.mark.parametrize("score", [lambda p: np.full(len(p), np.nan), lambda p: np.zeros(len(p))])
def test_without_finite_or_different_scores_it_goes_on(score):
    strategy = make()
    state, _ = run(strategy, strategy.init(jax.random.key(0)), 0, 5, score)
    _, populations = run(strategy, state, 5, 12)
    assert np.isfinite(populations).all()


@pytest.mark.parametrize("many", [5, 4], ids=["decomposed", "factored"])
def test_a_far_step_is_shortened_for_cma_es(many, monkeypatch):
    monkeypatch.setattr(cma_es, "MANY", many)
    strategy = EvosaxStrategy(Setting(LOWER, UPPER), CMAES, population_size=6)
    key = jax.random.key(0)
    population, state = strategy.ask(key, strategy.init(key))
    genotype = jnp.float32([2, 2, 2, 2])
    replaced, injected = strategy.inject(genotype, population, state)
    np.testing.assert_array_equal(replaced[-1], genotype)
    np.testing.assert_array_equal(replaced[:-1], population[:-1])
    bound = np.sqrt(4) + 2 * 4 / (4 + 2)
    assert np.linalg.norm(injected.sample[-1]) == pytest.approx(bound, rel=1e-5)
    near = jnp.float32([0.1, 0, 0, 0])
    np.testing.assert_allclose(limit_step(state.algorithm, near), near, atol=1e-6)


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="start_steps must be a whole number of at least 0"):
        make(start_steps=-1)
    with pytest.raises(ValueError, match="every must be a whole number of at least 1, not 0"):
        make(every=0)
    with pytest.raises(ValueError, match=r"inner is a GradientDescent, which cannot be told"):
        Memetic(Setting(LOWER, UPPER, START), GradientDescent)


DIGITS = ["+experiment=digits_halves", "strategy=memetic", "baselines.random_search=false"]


@pytest.mark.slow
def test_digits_by_evolution_and_gradient(tmp_path):
    more = ["search.evaluations=24", "strategy.start_steps=20"]
    found = evolve([*DIGITS, *more], tmp_path / "run")
    rows = list(read_history(tmp_path / "run" / "history.jsonl"))
    first = [row["fitness"] for row in rows if row["generation"] == rows[0]["generation"]]
    (fixed,) = [r for r in found.results if r.name == "task_arithmetic"]
    assert max(first) > fixed.score  # before anything was learnt from scores
    assert api.resume(tmp_path / "run").recipe.to_yaml() == found.recipe.to_yaml()


def test_another_strategy_inside():
    chosen = compose([*DIGITS, "strategy@strategy.inner=snes"])
    assert chosen.strategy.inner.algorithm["_target_"] == "evosax.algorithms.SNES"
