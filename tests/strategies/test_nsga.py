"""NSGA-II and NSGA-III; their comparison with pymoo is experiments/search/pareto.py."""

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra.utils
import jax
import jax.numpy as jnp
import moocore
import numpy as np
import pytest
from omegaconf import OmegaConf

from evojax_merge.strategies import CMAES, NSGA3, MultiObjectiveStrategy
from evojax_merge.strategies.multi_objective import State
from tests.strategies.making import make

FOLDER = Path(__file__).parents[2] / "conf" / "strategy"
BOX = {
    "lower": np.array([-1.0, 0.0, 0.0, 2.0], np.float32),
    "upper": np.array([1.0, 1.0, 0.1, 4.0], np.float32),
}
START = np.array([0.1, 0.5, 0.02, 2.5], np.float32)
SPAN = BOX["upper"] - BOX["lower"]
ENDS = [BOX["lower"] + SPAN * share for share in (0.2, 0.8)]
SIZE = 20
Score = Callable[[np.ndarray], np.ndarray]


def build(name: str, **changes: object) -> MultiObjectiveStrategy:
    config = OmegaConf.merge(OmegaConf.load(FOLDER / f"{name}.yaml"), {"population_size": SIZE})
    given = BOX | {"start": START, "objectives": ("one", "other")} | changes
    return make(hydra.utils.instantiate(config), **given)


def two_spheres(population: np.ndarray) -> np.ndarray:
    """Minus the squared distances, in ranges, from two points; best are those between them."""
    return np.stack([-(((population - end) / SPAN) ** 2).sum(axis=1) for end in ENDS], axis=1)


def evolve(
    strategy: MultiObjectiveStrategy,
    state: State,
    generations: range,
    score: Score = two_spheres,
) -> tuple[State, np.ndarray]:
    population = np.zeros((SIZE, strategy.dims))
    for generation in generations:
        key_ask, key_tell = jax.random.split(jax.random.fold_in(jax.random.key(5), generation))
        population, state = strategy.ask(key_ask, state)
        told = jnp.asarray(score(np.asarray(population)), jnp.float32)
        state = strategy.tell(key_tell, population, told, state)
    return state, np.asarray(population)


def equal_bits(one: State, other: State) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


@pytest.fixture(scope="module", params=["nsga2", "nsga3"])
def strategy(request: pytest.FixtureRequest) -> MultiObjectiveStrategy:
    return build(request.param)


@pytest.mark.few(1)
def test_finds_the_front_between_two_points(strategy: MultiObjectiveStrategy) -> None:
    state, population = evolve(strategy, strategy.init(jax.random.key(0)), range(60))
    genotypes, objectives = strategy.front(state)
    np.testing.assert_allclose(objectives, two_spheres(genotypes), rtol=1e-4, atol=1e-6)
    reference = two_spheres(np.stack(ENDS)).min(axis=0)
    exact = two_spheres(np.linspace(*ENDS, SIZE))
    best = moocore.hypervolume(exact, reference, maximise=True)
    assert moocore.hypervolume(objectives, reference, maximise=True) > 0.95 * best
    assert len(genotypes) > SIZE / 2
    assert population.dtype == np.float32
    assert (population >= BOX["lower"]).all()
    assert (population <= BOX["upper"]).all()


@pytest.mark.few(1)
def test_first_candidate_is_the_start_and_no_evaluation_repeats_one(
    strategy: MultiObjectiveStrategy,
) -> None:
    asked: list[np.ndarray] = []

    def remember(population: np.ndarray) -> np.ndarray:
        asked.append(population)
        return two_spheres(population)

    evolve(strategy, strategy.init(jax.random.key(0)), range(10), remember)
    np.testing.assert_array_equal(asked[0][0], START)
    everything = np.concatenate(asked)
    assert len(np.unique(everything, axis=0)) == len(everything)


def test_continues_from_a_saved_state_to_the_same_bits(strategy: MultiObjectiveStrategy) -> None:
    begun = strategy.init(jax.random.key(0))
    whole, _ = evolve(strategy, begun, range(12))
    half, _ = evolve(strategy, begun, range(5))
    restored = jax.tree.map(jnp.asarray, jax.tree.map(np.array, half))
    assert equal_bits(evolve(strategy, restored, range(5, 12))[0], whole)
    shapes = [(leaf.shape, leaf.dtype, False) for leaf in jax.tree.leaves(begun)]
    assert shapes == [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(whole)]
    assert strategy._ask_jit._cache_size() == strategy._tell_jit._cache_size() == 1


def test_failures_rank_last_and_stay_out_of_front_and_state(
    strategy: MultiObjectiveStrategy,
) -> None:
    def failing(population: np.ndarray) -> np.ndarray:
        scores = two_spheres(population)
        scores[0, 0], scores[1, 1], scores[2] = np.nan, np.inf, np.nan
        return scores

    begun = strategy.init(jax.random.key(0))
    nothing, _ = evolve(strategy, begun, range(1), lambda x: np.full((SIZE, 2), np.nan))
    assert equal_bits(nothing, begun)
    state, _ = evolve(strategy, begun, range(1, 6), failing)
    after, _ = evolve(strategy, state, range(6, 7), lambda x: np.full((SIZE, 2), np.nan))
    assert equal_bits(after, state)
    assert not any(np.isnan(leaf).any() for leaf in jax.tree.leaves(state))
    genotypes, objectives = strategy.front(state)
    assert np.isfinite(objectives).all()
    np.testing.assert_allclose(objectives, two_spheres(genotypes), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("constant", [[0], [1], [0, 1]])
def test_constant_objectives_do_no_harm(
    strategy: MultiObjectiveStrategy, constant: list[int]
) -> None:
    def score(population: np.ndarray) -> np.ndarray:
        scores = two_spheres(population)
        scores[:, constant] = 0.25
        return scores

    state, population = evolve(strategy, strategy.init(jax.random.key(0)), range(30), score)
    assert np.isfinite(population).all()
    assert not any(np.isnan(leaf).any() for leaf in jax.tree.leaves(state))
    _, objectives = strategy.front(state)
    if constant != [0, 1]:  # what remains is one objective, and is searched for
        assert objectives[:, 1 - constant[0]].max() > -0.02


@pytest.mark.few(1)
def test_parents_win_tournaments(strategy: MultiObjectiveStrategy) -> None:
    state: Any = evolve(strategy, strategy.init(jax.random.key(0)), range(3))[0].algorithm
    ranked = state.replace(rank=jnp.arange(SIZE, dtype=jnp.int32))
    if hasattr(state, "niche"):  # NSGA-III lets members of one niche meet
        ranked = ranked.replace(niche=jnp.zeros(SIZE, jnp.int32))
    chosen = []
    algorithm = copy.copy(strategy.algorithm)

    def mate(key: Any, parents: Any, state: Any, params: Any) -> np.ndarray:
        chosen.append(np.asarray(parents))
        return state.population

    algorithm._mate = mate
    for seed in range(200):
        algorithm._ask(jax.random.key(seed), ranked, strategy._params)
    won = np.bincount(np.concatenate(chosen).ravel(), minlength=SIZE)
    assert chosen[0].shape == (SIZE // 2, 2)
    # Of two tournaments a generation, against one of the others each, a member wins its share.
    np.testing.assert_allclose(won / 400, np.arange(SIZE)[::-1] / (SIZE - 1), atol=0.1)
    if hasattr(state, "niche"):
        chosen.clear()
        apart = ranked.replace(niche=jnp.arange(SIZE, dtype=jnp.int32))
        for seed in range(200):
            algorithm._ask(jax.random.key(seed), apart, strategy._params)
        won = np.bincount(np.concatenate(chosen).ravel(), minlength=SIZE)
        np.testing.assert_allclose(won / 400, 0.5, atol=0.1)


def test_ties_of_coarse_scores_leave_a_front_of_distinct_members(
    strategy: MultiObjectiveStrategy,
) -> None:
    coarse = evolve(
        strategy, strategy.init(jax.random.key(0)), range(30), lambda x: two_spheres(x).round(1)
    )[0]
    genotypes, objectives = strategy.front(coarse)
    assert len(np.unique(genotypes, axis=0)) == len(genotypes)
    assert len(np.unique(objectives, axis=0)) > 3


def test_a_normal_first_population_stands_around_the_start() -> None:
    strategy = build("nsga2", initial_population="normal", sigma=0.01)
    population, _ = strategy.ask(jax.random.key(0), strategy.init(jax.random.key(0)))
    assert (np.abs(np.asarray(population) - START) <= 0.06 * SPAN).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": ()}, r"needs at least two fitness tasks \(given: none\).*cma_es"),
        ({"objectives": ("math",)}, r"needs at least two fitness tasks \(given: math\)"),
        ({"population_size": 3}, "population_size must be a whole number of at least 4, not 3"),
        ({"population_size": 8.0}, "whole number"),
        ({"algorithm": CMAES}, "CMAES searches for one objective"),
        ({"initial_population": "gaussian"}, "normal or uniform"),
        ({"strategy_params": {"crossover_ratio": 1.0}}, "did you mean crossover_rate"),
        ({"lower": np.ones(4), "upper": np.zeros(4)}, "lower must be below upper"),
    ],
)
def test_refuses(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("nsga2", **changes)


@pytest.mark.parametrize(
    ("partitions", "message"),
    [
        (
            12,
            "13 reference directions for 2 objectives and 12 partitions, .* population of only 8",
        ),
        (0, "partitions must be a whole number of at least 1, not 0"),
        (2.5, "partitions must be a whole number"),
    ],
)
def test_refuses_directions_that_the_population_cannot_follow(
    partitions: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(
            "nsga3",
            algorithm=functools.partial(NSGA3, partitions=partitions),
            population_size=8,
        )


def test_refuses_another_number_of_objectives(strategy: MultiObjectiveStrategy) -> None:
    population, state = strategy.ask(jax.random.key(0), strategy.init(jax.random.key(0)))
    with pytest.raises(ValueError, match=r"column for each of one, other; its shape is \(20, 3\)"):
        strategy.tell(jax.random.key(0), population, jnp.zeros((SIZE, 3)), state)
