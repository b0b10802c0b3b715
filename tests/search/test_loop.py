"""The search as a whole, on a fitness that costs nothing."""

import jax
import numpy as np
import pytest

from evojax_merge.fitness.several import Part
from evojax_merge.measuring.evaluation import Evaluation
from evojax_merge.search.checkpointer import Checkpointer
from evojax_merge.search.history import History, HistoryWarning, read_history
from evojax_merge.search.loop import ConstantFitnessWarning, search
from evojax_merge.strategies import EvosaxStrategy, Setting, cma_es
from tests.compilations import count_compilations

DIMS, GENERATIONS = 3, 8


def strategy(algorithm: str = "CMA_ES") -> EvosaxStrategy:
    return EvosaxStrategy(Setting([0.0] * DIMS, [1.0] * DIMS), algorithm, population_size=6)


def sphere(population) -> Evaluation:
    genotypes = np.asarray(population)
    items = -np.square(genotypes - 0.3)
    return Evaluation(items.astype(np.float32), np.zeros(len(genotypes), np.float32))


def run(evaluate_fn=sphere, folder=None, **options):
    settings = {"key": jax.random.key(1), "generations": GENERATIONS, "archive_size": 4}
    if folder is not None:
        settings["checkpointer"] = Checkpointer(folder / "checkpoints")
        settings["history"] = History(folder / "history.jsonl")
    return search("evolved", strategy(), evaluate_fn, **(settings | options))


def same(first, second) -> None:
    def equal(a, b):
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)

    jax.tree.map(equal, first, second)


class StopError(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.few(1)
@pytest.mark.parametrize("calls", [1, 2, 5, GENERATIONS])
def test_a_search_that_was_cut_off_ends_in_the_same_state(tmp_path, calls):
    whole = run(folder=tmp_path / "whole")
    counted = []

    def dies(population):
        counted.append(1)
        if len(counted) == calls:
            raise StopError
        return sphere(population)

    with pytest.raises(StopError):
        run(dies, tmp_path / "cut")
    same(run(folder=tmp_path / "cut"), whole)

    def without_seconds(path):
        rows = list(read_history(path / "history.jsonl"))
        return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]

    assert without_seconds(tmp_path / "cut") == without_seconds(tmp_path / "whole")
    assert len(without_seconds(tmp_path / "cut")) == 6 * GENERATIONS


@pytest.mark.slow
def test_a_search_with_a_factor_of_the_covariance_goes_on_too(tmp_path, monkeypatch):
    monkeypatch.setattr(cma_es, "MANY", DIMS)
    run(folder=tmp_path, generations=3)
    continued, whole = run(folder=tmp_path), run()
    assert np.any(whole.strategy.algorithm.factor != np.eye(DIMS))
    same(continued, whole)


def test_a_finished_search_is_not_done_again(tmp_path):
    whole = run(folder=tmp_path)

    def forbidden(population):
        raise AssertionError

    same(run(forbidden, tmp_path), whole)


def test_a_longer_search_goes_on_from_a_shorter_one(tmp_path):
    run(folder=tmp_path, generations=3)
    same(run(folder=tmp_path), run())


def test_later_generations_compile_nothing():
    run(generations=2)
    counts = []
    with count_compilations() as compiled:
        run(on_generation=lambda metrics: counts.append(compiled.count))
    assert counts[1:] == [counts[1]] * (GENERATIONS - 1)


def test_a_constant_fitness_is_warned_of_loudly():
    def constant(population):
        return Evaluation(np.zeros((len(population), 2), np.float32), np.zeros(len(population)))

    with pytest.warns(ConstantFitnessWarning, match="same fitness"):
        run(constant)


def test_an_objective_that_is_constant_is_warned_of_by_name():
    def half(population):
        items = np.zeros((len(population), 4), np.float32)
        items[:, 2:] = np.asarray(population)[:, :2]
        parts = (Part("sums", slice(0, 2), 0.5), Part("texts", slice(2, 4), 0.5))
        return Evaluation(items, np.zeros(len(population)), parts)

    with pytest.warns(ConstantFitnessWarning) as caught:
        run(half)
    (warning,) = caught
    assert "the same score in sums (0). This objective has nothing to go by" in str(warning.message)


def test_a_score_that_is_not_finite_ranks_last_and_is_recorded(tmp_path):
    def broken(population):
        evaluation = sphere(population)
        items = evaluation.items.copy()
        items[np.asarray(population)[:, 0] > 0.6] = np.nan
        return evaluation._replace(items=items)

    metrics = []
    state = run(broken, tmp_path, on_generation=metrics.append)
    assert np.isfinite(state.archive.fitness).all()
    assert (np.asarray(state.archive.genotypes)[:, 0] <= 0.6).all()
    rows = list(read_history(tmp_path / "history.jsonl"))
    failed = [row for row in rows if row["fitness"] is None]
    assert failed
    assert sum(m.failed for m in metrics) == len(failed)
    assert all(row["genotype"][0] > 0.6 for row in failed)


def test_history_is_what_pandas_reads(tmp_path):
    import pandas as pd

    run(folder=tmp_path)
    table = pd.read_json(tmp_path / "history.jsonl", lines=True)
    assert list(table["generation"].unique()) == list(range(GENERATIONS))
    assert len(table) == 6 * GENERATIONS
    np.testing.assert_allclose(
        table["fitness"], [np.mean(items) for items in table["items"]], rtol=1e-5
    )
    assert len(table["genotype"][0]) == DIMS


def test_a_line_cut_off_by_a_crash_is_dropped(tmp_path):
    run(folder=tmp_path, generations=2)
    path = tmp_path / "history.jsonl"
    path.write_text(path.read_text()[:-9])
    with pytest.warns(HistoryWarning, match="generation 1 .counted from 0.; they are measured ag"):
        same(run(folder=tmp_path), run())
