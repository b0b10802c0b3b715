"""Every option of conf/strategy, on a sphere."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import hydra.utils
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf

from evojax_merge.config import compose
from evojax_merge.strategies import EvosaxStrategy, Setting, State
from tests.slow import slow

FOLDER = Path(__file__).parents[2] / "conf" / "strategy"
LOWER = np.array([-1.0, 0.0, 0.0, 2.0, -5.0], np.float32)
UPPER = np.array([1.0, 1.0, 0.1, 4.0, 15.0], np.float32)
# One optimum gene lies on its wall.
OPTIMUM = LOWER + (UPPER - LOWER) * np.array([0.8, 0.25, 0.7, 1.0, 0.3], np.float32)
GENERATIONS = 40


@functools.cache
def composed(name: str) -> DictConfig:
    return compose([f"strategy={name}", "model.sources=[x]"]).strategy


def build(name: str, **overrides: object) -> EvosaxStrategy:
    config = OmegaConf.merge(composed(name), overrides)
    return hydra.utils.instantiate(config)(Setting(LOWER, UPPER, (LOWER + UPPER) / 2))


def sphere(population: jax.Array) -> np.ndarray:
    """Negative squared distance in ranges, on the host as a task may be."""
    return -np.sum(((np.asarray(population) - OPTIMUM) / (UPPER - LOWER)) ** 2, axis=-1)


class Generation(NamedTuple):
    population: np.ndarray
    fitness: np.ndarray


def evolve(
    strategy: EvosaxStrategy,
    state: State,
    first: int,
    last: int,
    score: Callable[[jax.Array], np.ndarray] = sphere,
) -> tuple[State, list[Generation]]:
    generations = []
    for generation in range(first, last):
        key_ask, key_tell = jax.random.split(jax.random.fold_in(jax.random.key(5), generation))
        population, state = strategy.ask(key_ask, state)
        fitness = score(population)
        state = strategy.tell(key_tell, population, jnp.asarray(fitness), state)
        generations.append(Generation(np.asarray(population), fitness))
    return state, generations


def signature(state: State) -> list[tuple[str, tuple[int, ...], str, bool]]:
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return [(jax.tree_util.keystr(p), x.shape, str(x.dtype), x.weak_type) for p, x in leaves]


def equal_bits(one: State, other: State) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


@pytest.fixture(scope="module", autouse=True)
def quick_compilation() -> Iterator[None]:
    """Compiling is nearly all of this file's time, and five genes need no optimised program."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


# Those that follow gradients have tests/gradient: a sphere on the host has none. Those that hear
# several objectives have test_nsga.py and test_quality_diversity.py, items test_m2n2.py, those with
# a budget test_grid.py and test_optuna_cma.py, and the one that scores a part of what is proposed
# test_surrogate.py.
ELSEWHERE = {
    *("adamerging", "gradient", "memetic"),
    *("nsga2", "nsga3", "map_elites", "cycle_qd", "dominated_novelty", "m2n2"),
    *("grid", "optuna_cma"),
    "surrogate",
}
# One of each family of algorithms, and those with a part of our own.
TYPICAL = {
    *("auto", "cma_anchored_les", "cma_es", "coordinate", "cr_fm_nes", "differential_evolution"),
    *("iamalgam_full", "learned_es", "open_es", "persistent_es", "pso", "random", "simple_ga"),
    *("snes", "sv_open_es"),
}
OTHERS = {path.stem for path in FOLDER.glob("*.yaml")} - ELSEWHERE - TYPICAL
NAMES = [*sorted(TYPICAL), *slow(*sorted(OTHERS))]


@pytest.fixture(scope="module", params=NAMES)
def strategy(request: pytest.FixtureRequest) -> EvosaxStrategy:
    return build(request.param)


@pytest.fixture(scope="module")
def history(strategy: EvosaxStrategy) -> tuple[State, list[Generation]]:
    return evolve(strategy, strategy.init(jax.random.key(0)), 0, GENERATIONS)


@pytest.mark.few(2)
def test_improves_a_sphere(
    strategy: EvosaxStrategy, history: tuple[State, list[Generation]]
) -> None:
    _, generations = history
    start = sphere((LOWER + UPPER) / 2)
    best = max(g.fitness.max() for g in generations)
    assert best > 0.35 * start, f"best {best} from {start}"
    if "RandomSearch" not in repr(getattr(strategy, "algorithm", None)):
        means = [g.fitness.mean() for g in generations]
        assert np.mean(means[-5:]) > np.mean(means[:2])


@pytest.mark.few(6)
def test_stays_inside_the_bounds_and_varies(
    history: tuple[State, list[Generation]],
) -> None:
    for population, _ in history[1]:
        assert population.dtype == np.float32
        assert (population >= LOWER).all()
        assert (population <= UPPER).all()
        assert len(np.unique(population, axis=0)) > 1


@pytest.mark.few(5)
def test_continues_from_a_saved_state_to_the_same_bits(
    strategy: EvosaxStrategy, history: tuple[State, list[Generation]]
) -> None:
    state, _ = evolve(strategy, strategy.init(jax.random.key(0)), 0, 7)
    saved = jax.tree.map(np.array, state)
    restored = jax.tree.map(jnp.asarray, saved)
    state, _ = evolve(strategy, restored, 7, GENERATIONS)
    assert equal_bits(state, history[0])


def test_state_is_fixed_from_init_on_and_compiles_once(
    strategy: EvosaxStrategy, history: tuple[State, list[Generation]]
) -> None:
    state = strategy.init(jax.random.key(0))
    assert signature(state) == signature(history[0])
    assert all(leaf.size for leaf in jax.tree.leaves(state))
    assert strategy._ask_jit._cache_size() == 1
    assert strategy._tell_jit._cache_size() == 1


def test_failed_candidates_do_not_harm_the_state(strategy: EvosaxStrategy) -> None:
    def failing(population: jax.Array) -> np.ndarray:
        fitness = sphere(population)
        fitness[0], fitness[1], fitness[2] = np.nan, np.inf, -np.inf
        return fitness

    def failed(population: jax.Array) -> np.ndarray:
        return np.full(len(population), np.nan, np.float32)

    population, asked = strategy.ask(jax.random.key(1), strategy.init(jax.random.key(0)))
    state = strategy.tell(jax.random.key(2), population, jnp.asarray(failed(population)), asked)
    assert equal_bits(state, asked)
    state, _ = evolve(strategy, state, 1, 4, failing)
    state, _ = evolve(strategy, state, 4, 5, failed)
    _, (last,) = evolve(strategy, state, 5, 6)
    assert np.isfinite(last.population).all()
    assert len(np.unique(last.population, axis=0)) > 1
