"""Recorded benchmarks: the record, the model of the items, and searches on it."""

import json
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.measuring.evaluation import Evaluation
from evojax_merge.savers import Scorer, make_rule
from evojax_merge.search.loop import init_state, step
from evojax_merge.strategies import Setting
from experiments.search.recorded import item_model, steadiness
from experiments.search.recorded import record as record_module
from experiments.search.recorded.compare import Cell, at_budgets, save_all, saved, table
from experiments.search.recorded.contestants import overrides
from experiments.search.recorded.item_model import fit, held_out, probabilities
from experiments.search.recorded.record import SEEDS, Recorder, designs
from experiments.search.recorded.records import Record, Shard, joined, load
from experiments.search.recorded.searches import Contestant, Items, contestant, search
from experiments.search.recorded.simulated import (
    Simulated,
    choose_items,
    differing,
    field_values,
    make_field,
)

DIMS, SEARCHED, ITEMS = 3, 40, 60
BOUNDS = (np.zeros(DIMS, np.float32), np.full(DIMS, 2, np.float32), np.ones(DIMS, np.float32))
HARD = np.random.default_rng(0).uniform(0.1, 1.4, ITEMS)
TARGET = 1.5


def solves(genotypes: np.ndarray) -> np.ndarray:
    """Items are solved within a distance of an optimum, each within another one."""
    away = np.linalg.norm(np.asarray(genotypes, float) - TARGET, axis=-1)
    return (away[..., None] < HARD).astype(np.float32)


class Space:
    lower, upper, start = BOUNDS
    dims = DIMS


class Measured:
    """The part of `Real` that a recorder asks for; it counts what is measured."""

    space, searched, items = Space(), SEARCHED, ITEMS

    def __init__(self) -> None:
        self.measured = 0

    def sample(self, rng: np.random.Generator, share: float, always: np.ndarray) -> np.ndarray:
        rest = np.setdiff1d(np.arange(ITEMS), always)
        drawn = rng.choice(rest, max(0, round(share * ITEMS) - len(always)), replace=False)
        return np.sort(np.concatenate([always, drawn]))

    def __call__(self, genotypes: np.ndarray, rows: np.ndarray) -> np.ndarray:
        self.measured += len(genotypes)
        return solves(genotypes)[:, rows]


class Toy:
    """The landscape of the same items, all of them for every seed."""

    setting = Setting(*BOUNDS, items=SEARCHED)

    def results(self, populations: np.ndarray) -> np.ndarray:
        return solves(populations)[..., :SEARCHED]

    def scores(self, genotypes: np.ndarray) -> np.ndarray:
        return solves(genotypes)[:, SEARCHED:].mean(axis=1)


@pytest.fixture(scope="module")
def record() -> Record:
    shards = []
    for number in range(20):
        rng = np.random.default_rng(number)
        genotypes = rng.uniform(0, 2, (50, DIMS)).astype(np.float16)
        rows = np.sort(rng.choice(ITEMS, 45, replace=False))
        results = solves(genotypes)[:, rows].astype(bool)
        shards.append(Shard("uniform", genotypes, np.full(50, number), rows, results))
    return joined(shards, ("+experiment=toy",), BOUNDS, SEARCHED, ITEMS)


@pytest.fixture(scope="module")
def model(record: Record) -> item_model.ItemModel:
    return fit(record, steps=300)


def test_a_record_is_read_as_it_was_written(record: Record, tmp_path: Path) -> None:
    record.save(tmp_path / "toy.npz")
    found = load("toy", tmp_path)
    for one, other in zip(found, record, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_missing_record_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"recorded\.record toy"):
        load("toy", tmp_path)


def test_results_stand_where_they_were_measured(record: Record) -> None:
    met = record.measured[record.shard]
    np.testing.assert_array_equal(record.results, solves(record.genotypes).astype(bool) & met)
    assert met.mean() == 0.75


def test_what_was_recorded_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_module, "STRATEGIES", ("snes",))
    first, again = (Recorder(Measured(), tmp_path, 0.8) for _ in range(2))  # type: ignore[arg-type]
    for recorder in (first, again):
        for _ in designs(recorder, 500):
            pass
    names = [shard.design for shard in first.shards]
    assert (names.count("uniform"), names.count("around")) == (2, 1)
    assert sum(len(shard.genotypes) for shard in first.shards if shard.design == "snes") >= 350
    np.testing.assert_array_equal(np.unique(first.shards[-1].seeds), SEEDS)
    assert first.real.measured == sum(len(shard.genotypes) for shard in first.shards)  # type: ignore[attr-defined]
    assert again.real.measured == 0  # type: ignore[attr-defined]
    for one, other in zip(first.shards, again.shards, strict=True):
        np.testing.assert_array_equal(one.genotypes, other.genotypes)
        np.testing.assert_array_equal(one.results, other.results)


def test_the_model_predicts_candidates_that_it_was_not_fitted_to(
    record: Record, model: item_model.ItemModel
) -> None:
    out = held_out(record)
    assert 0.05 < out.mean() < 0.2
    likely = np.asarray(probabilities(model, jnp.asarray(record.genotypes[out], jnp.float32)))
    wanted = solves(record.genotypes[out])
    assert np.corrcoef(likely.mean(axis=1), wanted.mean(axis=1))[0, 1] > 0.98
    assert ((likely > 0.5) == wanted).mean() > 0.9


def test_a_model_is_read_as_it_was_written(model: item_model.ItemModel, tmp_path: Path) -> None:
    item_model.save(model, tmp_path / "model.npz")
    again = item_model.load(tmp_path / "model.npz")
    jax.tree.map(np.testing.assert_array_equal, again, model)


def test_fields_are_normal_and_alike_where_genotypes_are() -> None:
    inputs = np.random.default_rng(0).uniform(-1, 1, (40, DIMS))
    field = make_field(jax.random.key(0), DIMS, 2_000, 0.3)
    there = np.asarray(field_values(field, jnp.asarray(inputs, jnp.float32)))
    near = np.asarray(field_values(field, jnp.asarray(inputs + 0.01, jnp.float32)))
    assert abs(there.mean()) < 0.02
    assert abs(there.std() - 1) < 0.02
    assert np.corrcoef(there.ravel(), near.ravel())[0, 1] > 0.99
    assert abs(np.corrcoef(there[0], there[np.argmax(abs(inputs - inputs[0]).sum(1))])[0, 1]) < 0.3


def test_results_of_a_benchmark_have_the_probabilities_of_the_model(
    record: Record, model: item_model.ItemModel
) -> None:
    seeds = range(200)
    landscape = Simulated(model, record, 0.5, SEARCHED, seeds)
    genotype = np.full((len(seeds), 1, DIMS), 1.2, np.float32)
    found = landscape.results(genotype)[:, 0]
    wanted = np.asarray(probabilities(model, genotype[0]))[0, :SEARCHED]
    assert set(np.unique(found)) <= {0.0, 1.0}
    assert abs(found.mean(axis=0) - wanted).max() < 0.15
    held = np.asarray(probabilities(model, genotype[0]))[0, SEARCHED:].mean()
    np.testing.assert_allclose(landscape.scores(genotype[:, 0]), held, rtol=1e-5)


def test_differing_pairs_are_compared_on_items_that_both_met(
    record: Record, model: item_model.ItemModel
) -> None:
    found = differing(model, record)
    assert abs(found.best.mean() - found.recorded.mean()) < 0.03
    assert found.scale > 0.001  # results of this toy are no coin tosses


def test_items_of_a_seed_are_distinct_and_its_own() -> None:
    one, other = choose_items(SEARCHED, 20, [0, 1])
    assert len(set(one)) == 20
    assert set(one) != set(other)
    with pytest.raises(ValueError, match="41 items are asked for, and 40"):
        choose_items(SEARCHED, 41, [0])


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["snes + minibatch", "cr_fm_nes", "coordinate"])
def test_searches_of_many_seeds_are_those_of_each(name: str) -> None:
    landscape = Toy()
    chosen = overrides(name, 64 if "minibatch" in name else SEARCHED)
    one = contestant(chosen, landscape.setting)
    together = search(one, landscape, [3, 5])
    for place, seed in enumerate((3, 5)):
        alone = list(_alone(one, [*chosen, f"seed={seed}"], seed, 6))
        if place == 0:
            found = [next(together) for _ in alone]
        for standing, (items, genotype) in zip(found, alone, strict=True):
            assert standing.items[place] == items
            np.testing.assert_allclose(standing.genotypes[place], genotype, atol=2e-5)


def _alone(one: Contestant, chosen: Sequence[str], seed: int, generations: int):
    """The same by the package's own loop."""
    savers = contestant(chosen, Toy.setting).savers

    def measure(genotypes: np.ndarray, rows: np.ndarray) -> Evaluation:
        found = solves(genotypes)[:, rows]
        return Evaluation(found, np.zeros(len(found), np.float32))

    rule = make_rule(savers, Items(SEARCHED), one.searcher.strategy)  # type: ignore[arg-type]
    scorer = Scorer(rule, measure, SEARCHED)
    state, items = init_state(one.searcher.strategy, jax.random.key(seed), 1), 0
    for _ in range(generations):
        state, _, evaluation = step(state, one.searcher.strategy, scorer)
        items += int(evaluation.item_evaluations.sum())
        found = one.searcher.strategy.recommend(state.strategy)
        yield items, np.asarray(state.archive.genotypes[0] if found is None else found)


def test_scores_are_those_within_each_budget() -> None:
    scores = at_budgets(Toy(), "snes", [0, 1], (1, 20, 200))
    np.testing.assert_allclose(scores[:, 0], Toy().scores(BOUNDS[2][None])[0])  # not yet begun
    assert (scores[:, 2] > scores[:, 0]).all()


def test_strategies_that_need_more_than_results_are_refused() -> None:
    with pytest.raises(ValueError, match="on the real models"):
        contestant(["strategy=gradient"], Toy.setting)


def test_an_unknown_saver_is_refused() -> None:
    with pytest.raises(ValueError, match="no saver is called 'haste'"):
        overrides("cma_es + haste", 128)


def test_a_star_stands_where_no_other_is_better() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, (30, 3))
    rows = {"best": 0.8 + noise, "level": 0.799 + noise[::-1], "worse": 0.7 + noise}
    cells = [Cell("toy", 3, 32, name, each.tolist(), 1.0) for name, each in rows.items()]
    columns = table(cells).columns
    names, shown = list(columns[0].cells), list(columns[-1].cells)
    assert [name for name, cell in zip(names, shown, strict=True) if "*" in str(cell)] == [
        "best",
        "level",
    ]


def test_what_was_compared_elsewhere_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "compared.json"
    old = Cell("digits_8", 8, 32, "snes", [[0.1, 0.2, 0.3]], 1.0)
    kept = Cell("digits_4", 4, 32, "snes", [[0.4, 0.5, 0.6]], 1.0)
    new = old._replace(scores=[[0.7, 0.8, 0.9]])
    for name, cell in (("digits_8_32_snes_1", old), ("digits_4_32_snes_1", kept)):
        (tmp_path / f"{name}.json").write_text(json.dumps(cell))
    save_all(tmp_path, file)
    assert saved(file) == [kept, old]
    (tmp_path / "digits_4_32_snes_1.json").unlink()
    (tmp_path / "digits_8_32_snes_1.json").write_text(json.dumps(new))
    save_all(tmp_path, file)
    assert saved(file) == [kept, new]


def test_the_steadiness_of_searches_is_counted() -> None:
    scores = {"random": [0.2] * 10, "good": [0.8] * 10, "stuck": [0.2] + [0.7] * 8 + [0.9]}
    cells = [
        Cell("toy", 3, 32, name, [[each] for each in own], 1.0) for name, own in scores.items()
    ]
    columns = steadiness.table(cells, "good", 0).columns
    rows = list(zip(*(column.cells for column in columns), strict=True))
    assert rows == [
        ("good", "80.0", "80.0", "0", ""),
        ("stuck", "67.0", "65.0", "10", "-13.0 ± 11.0"),
        ("random", "20.0", "20.0", "100", "-60.0 ± 0.0"),
    ]
