"""M2N2 against a transcription in float64, and as a search."""

from collections.abc import Callable, Iterator
from pathlib import Path

import hydra.utils
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from omegaconf import OmegaConf

from evojax_merge.strategies import M2N2, Setting
from evojax_merge.strategies.breeding import State
from evojax_merge.strategies.m2n2 import Archive, compete, parents, share
from evojax_merge.strategies.mating import crossover, groups_of, slerp

CONFIG = Path(__file__).parents[2] / "conf" / "strategy" / "m2n2.yaml"
DIMS = 6
GROUPS = np.array([0, 1, 1, 0, 1, 0])
OPTIMUM = np.array([0.8, -0.5, 0.3, -0.9, 0.1, 0.6], np.float32)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module", autouse=True)
def quick_compilation() -> Iterator[None]:
    """Compiling is nearly all of this file's time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def build(**overrides: object) -> M2N2:
    config = OmegaConf.merge(OmegaConf.load(CONFIG), {"sigma": 0.1}, overrides)
    return hydra.utils.instantiate(config)(
        Setting([-1.0] * DIMS, [1.0] * DIMS, [0.0] * DIMS, items=DIMS, groups=GROUPS)
    )


def closeness(population: jax.Array) -> np.ndarray:
    """An item for each gene: 1 at its optimum, falling with the distance."""
    return np.exp(-4 * (np.asarray(population) - OPTIMUM) ** 2).astype(np.float32)


def evolve(
    strategy: M2N2,
    state: State,
    first: int,
    last: int,
    score: Callable[[jax.Array], np.ndarray] = closeness,
) -> State:
    for generation in range(first, last):
        key_ask, key_tell = jax.random.split(jax.random.fold_in(jax.random.key(3), generation))
        population, state = strategy.ask(key_ask, state)
        state = strategy.tell(key_tell, population, jnp.asarray(score(population)), state)
    return state


def equal_bits(one: State, other: State) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


# The paper's algorithm, in float64.


def numpy_shares(scores: np.ndarray, alpha: float) -> np.ndarray:
    z = scores.sum(axis=0) ** alpha
    return scores / np.where(z == 0, 1, z)


def numpy_compete(
    archive: np.ndarray, scores: np.ndarray, child: np.ndarray, row: np.ndarray, alpha: float
) -> None:
    fitness = numpy_shares(np.vstack([scores, row]), alpha).sum(axis=1)
    worst = int(fitness.argmin())
    if worst < len(scores):
        archive[worst], scores[worst] = child, row


def numpy_slerp(t: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    omega = np.arccos(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    return (np.sin((1 - t) * omega) * x + np.sin(t * omega) * y) / np.sin(omega)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
def test_shares_of_items(alpha: float, rng: np.random.Generator) -> None:
    scores = rng.random((7, 30)) * (rng.random((7, 30)) < 0.3)
    scores[:, 4] = 0.0
    got = share(jnp.asarray(scores, jnp.float32), alpha)
    np.testing.assert_allclose(got, numpy_shares(scores, alpha), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("split", [None, 0, 4, 9])
def test_interpolates_with_one_angle_of_the_whole_genotypes(
    split: int | None, rng: np.random.Generator
) -> None:
    x, y, w = rng.normal(size=9), rng.normal(size=9), 0.3
    t = np.full(9, w)
    if split is not None:
        t[split:] = 1 - w
    got = slerp(
        jnp.asarray(x, jnp.float32),
        jnp.asarray(y, jnp.float32),
        jnp.float32(w),
        None if split is None else jnp.int32(split),
    )
    np.testing.assert_allclose(got, numpy_slerp(t, x, y), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1.0, -1.0, 2.0])
def test_interpolates_linearly_where_there_is_no_angle(
    scale: float, rng: np.random.Generator
) -> None:
    x = jnp.asarray(rng.normal(size=9), jnp.float32)
    got = slerp(x, scale * x, jnp.float32(0.25), None)
    np.testing.assert_allclose(got, (0.75 + 0.25 * scale) * x, rtol=1e-4, atol=1e-5)


def test_a_split_point_may_be_anywhere_and_the_weight_is_uniform() -> None:
    keys = jax.random.split(jax.random.key(0), 2000)
    x, y = jnp.array([1.0, 0, 0, 0, 0, 0]), jnp.array([0.0, 1, 0, 0, 0, 0])
    children = np.asarray(jax.vmap(crossover, in_axes=(0, None, None))(keys, x, y))
    t = np.arcsin(np.clip(children[:, 1], 0, 1)) / (np.pi / 2)
    np.testing.assert_allclose(np.quantile(t, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.05)
    # Between the genes 0 and 1 in one of six children: only then do the two weights differ.
    together = np.isclose(children[:, 0] ** 2 + children[:, 1] ** 2, 1, atol=1e-4)
    assert abs((~together).mean() - 1 / 6) < 0.04


def test_each_group_has_an_angle_and_a_split_point_of_its_own(rng: np.random.Generator) -> None:
    x, y, w = rng.normal(size=9), rng.normal(size=9), 0.3
    of, splits = np.array([5, 2, 2, 5, 5, 2, 2, 5, 2]), {2: 1, 5: 3}
    expected = np.zeros(9)
    for group, split in splits.items():
        own = of == group
        t = np.where(np.arange(own.sum()) < split, w, 1 - w)
        expected[own] = numpy_slerp(t, x[own], y[own])
    got = slerp(
        jnp.asarray(x, jnp.float32),
        jnp.asarray(y, jnp.float32),
        jnp.float32(w),
        jnp.array([splits[2], splits[5]]),
        groups_of(of),
    )
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_split_points_of_groups_are_drawn_one_by_one() -> None:
    keys = jax.random.split(jax.random.key(0), 2000)
    # Two genes of each group, of which the second is y's: a split point is 1 where w is that of it.
    x, y = jnp.array([1.0, 0, 1, 0]), jnp.array([0.0, 1, 0, 1])
    groups = groups_of([0, 0, 1, 1])
    crossed = jax.vmap(lambda key: crossover(key, x, y, groups=groups))(keys)
    norms = np.linalg.norm(np.asarray(crossed).reshape(-1, 2, 2), axis=2)
    inside = ~np.isclose(norms, 1, atol=1e-4)  # else one weight holds for both genes
    np.testing.assert_allclose(inside.mean(axis=0), [1 / 2, 1 / 2], atol=0.05)
    assert abs(inside.all(axis=1).mean() - 1 / 4) < 0.05


@pytest.mark.parametrize("attraction", [True, False])
def test_draws_parents_as_the_paper_does(attraction: bool, rng: np.random.Generator) -> None:
    scores = (rng.random((5, 40)) < 0.4).astype(float)
    scores[3] = 0.0
    shares = numpy_shares(scores, 1.0)
    fitness = shares.sum(axis=1) / shares.sum()
    wanted = np.zeros((5, 5))
    for first in range(5):
        added = np.maximum(0, shares - shares[first]).sum(axis=1)
        wanted[first] = fitness[first] * (added / added.sum() if attraction else fitness)
    draw = jax.jit(
        jax.vmap(lambda key: parents(key, jnp.float32(shares), jnp.ones(5, bool), attraction))
    )
    first, second = draw(jax.random.split(jax.random.key(0), 20_000))
    got = np.zeros((5, 5))
    np.add.at(got, (np.asarray(first), np.asarray(second)), 1 / 20_000)
    np.testing.assert_allclose(got, wanted, atol=0.012)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_the_archive_of_the_paper(alpha: float, rng: np.random.Generator) -> None:
    archive, scores = np.zeros((4, 3)), np.zeros((4, 25))
    ours = Archive(jnp.zeros((4, 3)), jnp.zeros((4, 25)), jnp.zeros(4, bool))
    step = jax.jit(lambda ours, child, row: compete(ours, child, row, alpha))
    for _ in range(60):
        child, row = rng.normal(size=3), (rng.random(25) < 0.5).astype(float)
        numpy_compete(archive, scores, child, row, alpha)
        ours = step(ours, jnp.float32(child), jnp.float32(row))
    np.testing.assert_allclose(ours.members, archive, rtol=1e-6)
    np.testing.assert_array_equal(ours.scores, scores)


@pytest.mark.few(1)
@pytest.mark.parametrize("population_size", [1, 3])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_improves_every_item(population_size: int, alpha: float) -> None:
    strategy = build(population_size=population_size, alpha=alpha)
    state = evolve(strategy, strategy.init(jax.random.key(0)), 0, 300 // population_size)
    start = closeness(np.zeros((1, DIMS))).mean()
    assert np.asarray(state.archive.scores).mean(axis=1).max() > 1 - 0.3 * (1 - start)


def test_begins_with_the_seeds_and_stays_between_them_when_nothing_mutates() -> None:
    seeds = np.stack([np.r_[OPTIMUM[:3], -OPTIMUM[3:]], np.r_[-OPTIMUM[:3], OPTIMUM[3:]]])
    strategy = build().seed(seeds)
    state = strategy.init(jax.random.key(0))
    for seed in seeds:
        population, state = strategy.ask(jax.random.key(1), state)
        np.testing.assert_array_equal(population[0], seed)
        state = strategy.tell(jax.random.key(2), population, closeness(population), state)
    state = evolve(strategy, state, 2, 100)
    best = np.asarray(state.archive.members)[np.asarray(state.archive.scores).mean(axis=1).argmax()]
    assert closeness(best).mean() > closeness(seeds).mean(axis=1).max() + 0.1
    norms = np.linalg.norm(
        np.asarray(state.archive.members)[np.asarray(state.archive.occupied)], axis=1
    )
    assert norms.max() < 1.5 * np.linalg.norm(OPTIMUM)


def test_without_crossover_children_of_seeds_are_mutated() -> None:
    strategy = build(crossover=False).seed(np.stack([OPTIMUM, -OPTIMUM]))
    state = evolve(strategy, strategy.init(jax.random.key(0)), 0, 6)
    occupied = np.asarray(state.archive.members)[np.asarray(state.archive.occupied)]
    assert len(np.unique(occupied, axis=0)) == 6


def test_fills_its_last_first_generation_around_the_seeds() -> None:
    strategy = build(population_size=3).seed(OPTIMUM[None])
    population, _ = strategy.ask(jax.random.key(1), strategy.init(jax.random.key(0)))
    np.testing.assert_array_equal(population[0], OPTIMUM)
    assert 0 < np.abs(population[1:] - OPTIMUM).max() <= 1


@pytest.mark.parametrize("split", ["whole", "group"])
def test_continues_from_a_saved_state_to_the_same_bits_and_compiles_once(split: str) -> None:
    strategy = build(population_size=2, split=split)
    initial = strategy.init(jax.random.key(0))
    whole = evolve(strategy, initial, 0, 20)
    saved = jax.tree.map(np.array, evolve(strategy, initial, 0, 7))
    assert equal_bits(evolve(strategy, jax.tree.map(jnp.asarray, saved), 7, 20), whole)
    assert jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), initial) == jax.tree.map(
        lambda x: (x.shape, x.dtype, x.weak_type), whole
    )
    assert strategy._ask_jit._cache_size() == strategy._tell_jit._cache_size() == 1


@pytest.mark.slow
def test_many_searches_at_once_are_the_same_searches() -> None:
    strategy = build()

    def run(key: jax.Array) -> jax.Array:
        def generation(state: State, key: jax.Array) -> tuple[State, None]:
            population, state = strategy.ask(key, state)
            items = jnp.exp(-4 * (population - OPTIMUM) ** 2)
            return strategy.tell(key, population, items, state), None

        state, _ = jax.lax.scan(generation, strategy.init(key), jax.random.split(key, 30))
        return state.archive.members

    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(run))(keys)
    np.testing.assert_allclose(together, np.stack([run(key) for key in keys]), atol=1e-5)


def test_a_second_parent_is_found_where_none_complements_the_first() -> None:
    shares = jnp.array([[0.5, 0.5], [0.5, 0.5], [0.0, 0.0]])
    keys = jax.random.split(jax.random.key(0), 200)
    occupied = jnp.array([True, True, True])
    draw = jax.vmap(parents, in_axes=(0, None, None, None))
    for attraction in (True, False):
        first, second = (np.asarray(x) for x in draw(keys, shares, occupied, attraction))
        assert set(first) == set(second) == {0, 1}
    # Nobody solves anything.
    first, second = draw(keys, jnp.zeros((3, 2)), jnp.array([True, False, True]), True)
    assert set(np.asarray(first)) == set(np.asarray(second)) == {0, 2}


def test_failed_candidates_never_enter_the_archive() -> None:
    strategy = build(population_size=3)

    def failing(population: jax.Array) -> np.ndarray:
        items = closeness(population)
        items[0, 2], items[1, :] = np.nan, np.inf
        return items

    def failed(population: jax.Array) -> np.ndarray:
        return np.full((len(population), DIMS), np.nan, np.float32)

    state = evolve(strategy, strategy.init(jax.random.key(0)), 0, 3, failed)
    assert not np.asarray(state.archive.occupied).any()
    state = evolve(strategy, state, 3, 6, failing)
    assert np.asarray(state.archive.occupied).sum() == 3
    state = evolve(strategy, state, 6, 60)
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(state))
    assert len(np.unique(np.asarray(state.archive.members), axis=0)) > 3


def test_a_problem_that_nobody_solves_does_not_harm_the_state() -> None:
    strategy = build()
    state = evolve(
        strategy,
        strategy.init(jax.random.key(0)),
        0,
        30,
        lambda population: np.zeros((len(population), DIMS), np.float32),
    )
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"population_size": 0}, "population_size must be a whole number of at least 1, not 0"),
        ({"archive_size": 1}, "archive_size must be a whole number of at least 2"),
        ({"founders": 1.5}, "founders must be a whole number"),
        ({"alpha": -1}, "alpha must be a finite number of at least 0, not -1"),
        ({"mutation": float("nan")}, "mutation must be a finite number of at least 0"),
        ({"sigma": 0.0}, "sigma"),
        ({"split": "layer"}, "split is 'layer'; use one of whole, group, none"),
    ],
)
def test_refuses_what_it_cannot_use(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**overrides)


@pytest.mark.parametrize("groups", [None, np.zeros(DIMS, int)])
def test_refuses_to_split_groups_where_there_are_no_two(groups: np.ndarray | None) -> None:
    setting = Setting([-1.0] * DIMS, [1.0] * DIMS, items=DIMS, groups=groups)
    with pytest.raises(ValueError, match=r"no two groups; choose one that has, as space=unet_att"):
        M2N2(setting, split="group")


def test_refuses_scores_that_cannot_be_shared() -> None:
    strategy = build()
    population, state = strategy.ask(jax.random.key(0), strategy.init(jax.random.key(0)))
    with pytest.raises(ValueError, match="at least 0, and there is -2"):
        strategy.tell(jax.random.key(1), population, jnp.full((1, DIMS), -2.0), state)


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        (np.zeros((2, DIMS + 1)), "genotypes of 6 genes"),
        (np.zeros((0, DIMS)), "genotypes of 6 genes"),
        (np.full((2, DIMS), np.nan), "seed 0 has genes that are not finite"),
    ],
)
def test_refuses_seeds_of_another_space(seeds: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build().seed(seeds)
