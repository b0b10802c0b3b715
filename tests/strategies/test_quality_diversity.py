"""Archives by quality and descriptors: what they hold, as searches, and what is refused."""

from collections.abc import Callable, Iterator
from pathlib import Path

import hydra.utils
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from omegaconf import OmegaConf

from evojax_merge.strategies import (
    CycleQD,
    DescriptorRangeWarning,
    DominatedNoveltySearch,
    MAPElites,
    Setting,
)
from evojax_merge.strategies.breeding import State
from evojax_merge.strategies.cycle_qd import elite_weights, mutate_matrices
from evojax_merge.strategies.dominated_novelty import dominated_novelty
from evojax_merge.strategies.mating import draw_pair

FOLDER = Path(__file__).parents[2] / "conf" / "strategy"
DIMS = 5
TASKS = ("math", "japanese", "code")
OPTIMA = np.array(
    [[0.9, 0.1, 0.5, 0.5, 0.5], [0.1, 0.9, 0.5, 0.5, 0.5], [0.5, 0.5, 0.9, 0.1, 0.5]], np.float32
)
Strategy = MAPElites | CycleQD | DominatedNoveltySearch


@pytest.fixture(scope="module", autouse=True)
def quick_compilation() -> Iterator[None]:
    """Compiling is nearly all of this file's time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def build(name: str, **given: object) -> Strategy:
    config = OmegaConf.load(FOLDER / f"{name}.yaml")
    called = {key: given.pop(key) for key in ("objectives", "matrices", "items") if key in given}
    config = OmegaConf.merge(config, given)
    told = {"objectives": TASKS, **called}
    setting = Setting([0.0] * DIMS, [1.0] * DIMS, [0.5] * DIMS, **told)
    return hydra.utils.instantiate(config)(setting)


def scores(population: jax.Array) -> np.ndarray:
    """Closeness to the optimum of each task, in [0, 1]."""
    distance = np.square(np.asarray(population)[:, None] - OPTIMA).sum(axis=-1)
    return np.exp(-4 * distance).astype(np.float32)


def evolve(
    strategy: Strategy,
    state: State,
    first: int,
    last: int,
    score: Callable[[jax.Array], np.ndarray] = scores,
) -> State:
    for generation in range(first, last):
        key_ask, key_tell = jax.random.split(jax.random.fold_in(jax.random.key(3), generation))
        population, state = strategy.ask(key_ask, state)
        assert (population >= 0).all()
        assert (population <= 1).all()
        state = strategy.tell(key_tell, population, jnp.asarray(score(population)), state)
    return state


@pytest.fixture(params=["map_elites", "cycle_qd", "dominated_novelty"])
def strategy(request: pytest.FixtureRequest) -> Strategy:
    return build(request.param, population_size=4)


@pytest.mark.few(1)
def test_improves_every_task(strategy: Strategy) -> None:
    state = evolve(strategy, strategy.init(jax.random.key(0)), 0, 100)
    genotypes, objectives = strategy.front(state)
    start = scores(np.full((1, DIMS), 0.5))[0]
    assert (objectives.max(axis=0) > 1 - 0.5 * (1 - start)).all()
    np.testing.assert_allclose(scores(genotypes), objectives, rtol=1e-5)
    assert len(np.unique(genotypes, axis=0)) == len(genotypes) > 10


def test_continues_from_a_saved_state_to_the_same_bits_and_compiles_once(
    strategy: Strategy,
) -> None:
    initial = strategy.init(jax.random.key(0))
    whole = evolve(strategy, initial, 0, 12)
    saved = jax.tree.map(np.array, evolve(strategy, initial, 0, 5))
    again = evolve(strategy, jax.tree.map(jnp.asarray, saved), 5, 12)
    for one, other, first in zip(*map(jax.tree.leaves, (again, whole, initial)), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
        assert (first.shape, first.dtype, first.weak_type) == (
            other.shape,
            other.dtype,
            other.weak_type,
        )
    assert strategy._ask_jit._cache_size() == strategy._tell_jit._cache_size() == 1


def test_failed_candidates_are_no_elites(strategy: Strategy) -> None:
    def failing(population: jax.Array) -> np.ndarray:
        told = scores(population)
        told[0, 1], told[1, :], told[2, 0] = np.nan, np.nan, -np.inf
        return told

    def failed(population: jax.Array) -> np.ndarray:
        return np.full((len(population), 3), np.nan, np.float32)

    state = evolve(strategy, strategy.init(jax.random.key(0)), 0, 3, failed)
    assert not len(strategy.front(state)[0])
    state = evolve(strategy, state, 3, 6, failing)
    assert 1 <= len(strategy.front(state)[0]) <= 3
    state = evolve(strategy, state, 6, 30)
    genotypes, objectives = strategy.front(state)
    assert np.isfinite(genotypes).all()
    assert np.isfinite(objectives).all()
    assert len(genotypes) > 3


def test_begins_with_the_seeds(strategy: Strategy) -> None:
    seeded = strategy.seed(OPTIMA)
    population, _ = seeded.ask(jax.random.key(1), seeded.init(jax.random.key(0)))
    np.testing.assert_array_equal(population[:3], OPTIMA)
    assert 0 < np.abs(np.asarray(population)[3] - OPTIMA[0]).max() < 1


def test_the_elites_of_map_elites_are_the_best_of_their_cells() -> None:
    strategy = build("map_elites", population_size=4, fitness="math", descriptors=["code"])
    seen: dict[int, float] = {}

    def score(population: jax.Array) -> np.ndarray:
        told = scores(population)
        for math, _, code in told:
            cell = min(int(np.float32(code) * np.float32(10)), 9)
            seen[cell] = max(seen.get(cell, -1), math)
        return told

    state = evolve(strategy, strategy.init(jax.random.key(0)), 0, 40, score)
    quality = np.asarray(state.archive.quality)
    assert {int(cell): float(quality[cell]) for cell in np.flatnonzero(quality > -1)} == seen


@pytest.mark.parametrize("selection", ["uniform", "quality"])
def test_children_of_two_seeds_lie_between_them(selection: str) -> None:
    strategy = build("map_elites", population_size=2, selection=selection).seed(OPTIMA[:2])
    state = evolve(strategy, strategy.init(jax.random.key(0)), 0, 30)
    genotypes, _ = strategy.front(state)
    assert len(genotypes) > 2
    # On the sphere between the two, the genes in which they agree can only grow together.
    np.testing.assert_allclose(genotypes[:, 2], genotypes[:, 4], atol=0.2)


def test_every_archive_of_cycle_qd_is_of_its_own_task() -> None:
    strategy = build("cycle_qd", population_size=4, bins=[3, 4, 5])
    assert isinstance(strategy, CycleQD)
    state = evolve(strategy, strategy.init(jax.random.key(0)), 0, 40)
    bins = np.array([3, 4, 5])
    for task in range(3):
        elites = np.flatnonzero(np.asarray(state.archive.quality)[task] > -np.inf)
        objectives = np.asarray(state.archive.objectives)[task][elites]
        np.testing.assert_array_equal(
            np.asarray(state.archive.quality)[task][elites], objectives[:, task]
        )
        others = [other for other in range(3) if other != task]
        indices = np.minimum((objectives * bins).astype(int), bins - 1)[:, others]
        cells = indices[:, 0] * bins[others[1]] + indices[:, 1]
        np.testing.assert_array_equal(cells, elites)


def test_the_task_whose_elites_breed_rotates() -> None:
    strategy = build("cycle_qd", population_size=3, mutation=None)
    corners = np.eye(3, DIMS, dtype=np.float32)

    def score(population: jax.Array) -> np.ndarray:
        """A candidate is an elite of the task whose corner it is; bins are shared by all."""
        return np.asarray(population)[:, :3] * 0.01

    strategy = strategy.seed(corners)
    state = evolve(strategy, strategy.init(jax.random.key(0)), 0, 1, score)
    for generation in (1, 2, 3):
        population, state = strategy.ask(jax.random.key(generation), state)
        task = generation % 3  # all are in one cell of each archive: its only elite has no mate
        np.testing.assert_allclose(population, np.tile(corners[task], (3, 1)), atol=1e-5)
        state = state._replace(generation=state.generation + 1)


def in_numpy(quality: np.ndarray, descriptors: np.ndarray, k: int) -> np.ndarray:
    """Dominated novelty by loops in float64; of equals the first is better."""
    found = np.full(len(quality), -np.inf)
    for i in np.flatnonzero(quality > -np.inf):
        better = [
            j
            for j in range(len(quality))
            if quality[j] > quality[i] or (quality[j] == quality[i] and j < i)
        ]
        distances = sorted(np.linalg.norm(descriptors[i] - descriptors[j]) for j in better)
        found[i] = np.mean(distances[:k]) if distances else np.inf
    return found


def test_novelty_is_that_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    quality = rng.integers(0, 8, 30) / 8.0
    quality[[3, 11]] = -np.inf
    descriptors = rng.normal(size=(30, 4))
    for k in (1, 3, 50):
        got = dominated_novelty(jnp.float32(quality), jnp.float32(descriptors), k)
        np.testing.assert_allclose(got, in_numpy(quality, descriptors, k), rtol=1e-5)


def test_dominated_novelty_keeps_the_most_novel_of_a_generation_and_its_archive() -> None:
    strategy = build(
        "dominated_novelty", population_size=6, archive_size=8, fitness="math", neighbours=2
    )
    state = evolve(strategy, strategy.init(jax.random.key(0)), 0, 5)
    population, _ = strategy.ask(jax.random.key(9), state)
    told = scores(population)
    after = strategy.tell(jax.random.key(1), population, jnp.asarray(told), state).archive
    everyone = np.concatenate([np.asarray(state.archive.objectives), told])
    novelty = in_numpy(everyone[:, 0], everyone[:, 1:].astype(np.float64), 2)
    kept = np.sort(np.argsort(-novelty, kind="stable")[:8])
    np.testing.assert_allclose(after.objectives, everyone[kept], rtol=1e-6)
    assert everyone[:, 0].argmax() in kept


def test_of_copies_of_the_best_one_stays() -> None:
    strategy = build("dominated_novelty", population_size=4, archive_size=3, fitness="math")
    state = strategy.init(jax.random.key(0))
    told = jnp.float32([[0.9, 0.1, 0.1], [0.9, 0.1, 0.1], [0.5, 0.9, 0.1], [0.4, 0.1, 0.9]])
    population, state = strategy.ask(jax.random.key(1), state)
    archive = strategy.tell(jax.random.key(2), population, told, state).archive
    np.testing.assert_allclose(archive.objectives, told[jnp.array([0, 2, 3])])


def test_every_item_is_a_descriptor() -> None:
    strategy = build(
        "dominated_novelty", population_size=6, archive_size=6, descriptors="items", items=DIMS
    )
    assert strategy.hears == "items"

    def score(population: jax.Array) -> np.ndarray:
        """Item i is solved where gene i is the greatest: no candidate solves two."""
        genes = np.asarray(population)
        return (genes == genes.max(axis=1, keepdims=True)).astype(np.float32)

    state = evolve(strategy, strategy.init(jax.random.key(0)), 0, 30, score)
    solved = np.asarray(state.archive.objectives).max(axis=0)
    np.testing.assert_array_equal(solved, 1)  # all are equally good, and each kind is there
    assert strategy.front(state) is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"descriptors": "items", "items": None}, "the number of items"),
        ({"descriptors": "items", "items": 3, "fitness": "math"}, "leave it out"),
        ({"objectives": ("math",), "fitness": "math"}, "give at least one task, or items"),
        ({"neighbours": 0}, "strategy.neighbours"),
        ({"archive_size": 1}, "strategy.archive_size"),
        ({"descriptors": ["maths"]}, "math"),
    ],
)
def test_dominated_novelty_refuses(given: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        build("dominated_novelty", **given)


def test_draws_elites_as_the_published_code_does() -> None:
    rng = np.random.default_rng(0)
    quality, occupied = rng.random(12), rng.random(12) < 0.6
    bins = np.stack([rng.integers(0, 15, 12), np.full(12, 3)], axis=1)

    def normalize(values: np.ndarray) -> np.ndarray:
        low, high = values.min(), values.max()
        return np.ones(len(values)) if low == high else 0.5 + (values - low) * 0.8 / (high - low)

    wanted = np.zeros(12)
    wanted[occupied] = normalize(quality[occupied])
    for column in bins[occupied].T:
        wanted[occupied] *= normalize(column.astype(float))
    got = elite_weights(
        jnp.asarray(np.where(occupied, quality, -np.inf), jnp.float32),
        jnp.asarray(bins, jnp.int32),
        jnp.asarray(occupied),
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_draws_pairs_without_replacement() -> None:
    weights = np.array([0.5, 0.0, 0.2, 0.3])
    keys = jax.random.split(jax.random.key(0), 20_000)
    first, second = jax.vmap(draw_pair, in_axes=(0, None))(keys, jnp.float32(weights))
    got = np.zeros((4, 4))
    np.add.at(got, (np.asarray(first), np.asarray(second)), 1 / 20_000)
    wanted = weights[:, None] * weights / (1 - weights[:, None])
    np.fill_diagonal(wanted, 0)
    np.testing.assert_allclose(got, wanted, atol=0.012)
    alone = draw_pair(jax.random.key(0), jnp.float32([0, 0, 2.0]))
    assert [int(place) for place in alone] == [2, 2]


def test_mutates_matrices_along_their_singular_vectors() -> None:
    rng = np.random.default_rng(0)
    vector = rng.normal(size=30).astype(np.float32)
    got = np.asarray(
        mutate_matrices(jax.random.key(0), jnp.asarray(vector), [(2, 3, 4), (14, 4, 3)], 0.1)
    )
    untouched = [0, 1, *range(26, 30)]
    np.testing.assert_array_equal(got[untouched], vector[untouched])
    for offset, rows, columns in ((2, 3, 4), (14, 4, 3)):
        before = vector[offset : offset + 12].reshape(rows, columns).astype(np.float64)
        after = got[offset : offset + 12].reshape(rows, columns)
        u, s, vt = np.linalg.svd(before, full_matrices=False)
        stretched = u.T @ (after - before) @ vt.T
        np.testing.assert_allclose(stretched, np.diag(np.diag(stretched)), atol=1e-5)
        share = np.diag(stretched) / s
        assert (share > 0).all()
        assert (share < 0.1).all()
        assert len(np.unique(share.round(6))) == 3


def test_task_vectors_are_measured_from_the_start() -> None:
    strategy = build("cycle_qd", population_size=2, mutation="svd", matrices=((0, 2, 2),))
    strategy = strategy.seed(OPTIMA[:2])
    state = evolve(strategy, strategy.init(jax.random.key(0)), 0, 1)
    population, _ = strategy.ask(jax.random.key(1), state)
    # The fifth gene of both is that of the start, and no matrix has it.
    np.testing.assert_allclose(np.asarray(population)[:, 4], 0.5, atol=1e-6)


@pytest.mark.parametrize("strategy", ["map_elites", "cycle_qd"], indirect=True)
def test_warns_of_scores_outside_their_range(strategy: Strategy) -> None:
    population, state = strategy.ask(jax.random.key(0), strategy.init(jax.random.key(0)))
    told = jnp.asarray(scores(population)).at[2, 1].set(1.5)
    with pytest.warns(DescriptorRangeWarning, match=r"japanese scored 1\.5, outside"):
        state = strategy.tell(jax.random.key(1), population, told, state)
    assert len(strategy.front(state)[0])


def test_an_accuracy_of_one_is_in_the_last_bin() -> None:
    strategy = build("map_elites", population_size=1, fitness="math", descriptors=["code"])
    population, state = strategy.ask(jax.random.key(0), strategy.init(jax.random.key(0)))
    state = strategy.tell(jax.random.key(1), population, jnp.ones((1, 3)), state)
    assert np.flatnonzero(np.asarray(state.archive.quality) == 1).tolist() == [9]


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("map_elites", {"fitness": "maths"}, r"'maths' \(did you mean math"),
        ("map_elites", {"descriptors": ["cod"]}, r"'cod' \(did you mean code"),
        ("map_elites", {"descriptors": ["code", "code"]}, "names a task twice"),
        ("map_elites", {"descriptors": []}, "descriptors is empty"),
        ("map_elites", {"fitness": "math", "objectives": ("math",)}, "descriptors is empty"),
        ("map_elites", {"selection": "best"}, "must be uniform or quality"),
        ("map_elites", {"ranges": [1.0, 0.0]}, "ranges of math"),
        ("map_elites", {"bins": 0}, "bins must be"),
        ("map_elites", {"bins": 10_000}, "GB, more than"),
        ("map_elites", {"mutation": -0.1}, "mutation must be"),
        ("cycle_qd", {"objectives": ("math",)}, r"give two tasks or more \(given: math\)"),
        ("cycle_qd", {"mutation": "svd"}, "needs a space whose genotypes hold matrices"),
        ("cycle_qd", {"mutation": "noise"}, "must be svd, gaussian or null"),
        ("cycle_qd", {"rate": -1}, "rate must be"),
        ("cycle_qd", {"ranges": [[0, 1]]}, "ranges has 1 entries for 3"),
    ],
)
def test_refuses_what_it_cannot_use(name: str, given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, **given)
