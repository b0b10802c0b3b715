"""What the tables of a sweep say, computed once more by SciPy."""

import csv
import io
import math

import numpy as np
import pytest
import yaml
from rich.console import Console
from scipy import stats

from evojax_merge.report.comparisons import _over_seeds, compare_settings, comparison_table
from evojax_merge.report.items import load_items, save_items
from evojax_merge.report.jobs import Job
from evojax_merge.report.plots import blank_figure
from evojax_merge.report.repetitions import holm, spread
from evojax_merge.report.results import Result, save_results
from evojax_merge.report.settings import setting_of, swept
from evojax_merge.report.settings_plot import _draw
from evojax_merge.report.summary import summarise
from evojax_merge.report.sweep import show_sweep
from evojax_merge.report.sweep_rows import collect, evolved
from tests.fitness.tasks import Counted

SEEDS = range(3)
STRATEGIES = ("cma_es", "random")
ITEMS = {
    (strategy, seed): (np.random.default_rng([number, seed]).random(20) < 0.8 - 0.3 * number) * 1.0
    for number, strategy in enumerate(STRATEGIES)
    for seed in SEEDS
}


@pytest.fixture
def sweep(tmp_path):
    """Three seeds of two strategies, with a base that is the same in all."""
    task = Counted(20, split="test")
    for number, ((strategy, seed), items) in enumerate(ITEMS.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        asked = ["name=s", f"strategy={strategy}", f"seed={seed}"]
        (folder / "overrides.yaml").write_text(yaml.safe_dump(asked))
        base = np.tile([0.0, 1.0], 10)
        results = [
            Result.of("base", task, base),
            Result.of("evolved", task, items, evaluations=8, seconds=1.0 + seed),
        ]
        save_results(results, folder / "results.json")
        save_items({"test": {"base": base, "evolved": items}}, folder / "items.json")
    return tmp_path


def shown(sweep):
    jobs = [Job(str(number), (), "done", "") for number in range(len(ITEMS))]
    console = Console(width=200, file=io.StringIO())
    show_sweep(sweep, jobs, console)
    return console.file.getvalue()


def read(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def scores(strategy):
    return np.array([ITEMS[strategy, seed].mean() for seed in SEEDS])


def test_the_keys_in_which_runs_differ():
    asked = [["a=1", "+b=x y", "~c", "seed=0"], ["a=1", "b=z", "seed=1"]]
    found = swept(asked)
    assert found == [{"b": "x y", "c": "~", "seed": "0"}, {"b": "z", "c": "", "seed": "1"}]
    assert setting_of(found[0]) == "b=x y c=~"
    assert setting_of({"seed": "1"}) == "all"


def test_intervals_and_p_values_are_those_of_scipy():
    values = [0.3, 0.5, 0.45, 0.1]
    found = spread(values)
    wanted = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    np.testing.assert_allclose((found.low, found.high), wanted)
    np.testing.assert_allclose(found.p_value, stats.ttest_1samp(values, 0).pvalue)
    assert math.isnan(spread([0.5]).low)
    assert spread([0.1, 0.1, 0.1])[:4] == (0.1, 0.1, 0.1, 0.0)


def test_p_values_of_several_tests():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # Holm's step-down
    found = holm([0.5, math.nan, 0.9])
    assert found[::2] == [1.0, 1.0]
    assert math.isnan(found[1])


def test_seeds_that_differ_by_the_same_leave_the_interval_open():
    """As by chance with three seeds: an interval without width would claim certainty."""
    for apart in ([0.1, 0.1, 0.1], [0.3 - 0.2, 0.1, 0.8 - 0.7]):  # the same but for rounding
        found = _over_seeds(apart)
        assert found.mean == pytest.approx(0.1)
        assert np.isnan([found.low, found.high, found.p_value]).all()
    assert _over_seeds([0.1, 0.2]).low < 0.1


def test_settings_are_compared_by_the_seeds_that_both_have(sweep):
    (sweep / "0" / "results.json").unlink()  # cma_es of seed 0 has failed
    runs = [str(number) for number in range(len(ITEMS))]
    (found,) = compare_settings(evolved(collect(sweep, runs)))
    assert (found.setting, found.against) == ("strategy=cma_es", "strategy=random")
    test = stats.ttest_rel(scores("cma_es")[1:], scores("random")[1:])
    assert found.seeds.size == 2
    np.testing.assert_allclose(found.seeds.p_value, test.pvalue)
    mean = {name: np.mean([ITEMS[name, seed] for seed in (1, 2)], axis=0) for name in STRATEGIES}
    assert found.items.score == pytest.approx((mean["cma_es"] - mean["random"]).mean())
    assert found.items.better == (mean["cma_es"] > mean["random"]).sum()


def test_a_sweep_leaves_tidy_tables_and_pictures(sweep):
    printed = shown(sweep)
    rows = read(sweep / "results.csv")
    assert list(rows[0])[:5] == ["run", "strategy", "seed", "name", "split"]
    assert len(rows) == 12
    own = [float(r["score"]) for r in rows if (r["name"], r["strategy"]) == ("evolved", "random")]
    np.testing.assert_allclose(own, scores("random"))

    summary = {(r["strategy"], r["method"]): r for r in read(sweep / "summary.csv")}
    row = summary["cma_es", "evolved"]
    assert (row["n"], row["evaluations"], row["seconds"]) == ("3", "8.0", "2.0")
    np.testing.assert_allclose(float(row["mean"]), scores("cma_es").mean())
    wanted = stats.t.interval(0.95, 2, scores("cma_es").mean(), stats.sem(scores("cma_es")))
    np.testing.assert_allclose((float(row["low"]), float(row["high"])), wanted)
    assert summary["random", "base"]["deviation"] == "0.0"

    (row,) = read(sweep / "comparisons.csv")
    test = stats.ttest_rel(scores("cma_es"), scores("random"))
    np.testing.assert_allclose(float(row["p"]), test.pvalue)
    assert row["p_holm"] == row["p"]
    assert int(row["items"]) == 20
    for part in ("mean over seeds", "strategy=cma_es", "differences between settings"):
        assert part in printed
    assert (sweep / "compare.png").stat().st_size > 5_000


def test_a_comparison_names_whole_settings_and_says_what_each_p_is_over(sweep):
    rows = evolved(collect(sweep, [str(number) for number in range(len(ITEMS))]))
    table = comparison_table(compare_settings(rows))
    console = Console(width=80, file=io.StringIO())
    console.print(table)
    printed = console.file.getvalue()
    assert {"strategy=cma_es", "strategy=random"} <= set(printed.split())
    assert max(map(len, printed.splitlines())) <= 80
    for text in ("over seeds", "over items", "(Holm"):
        assert text in printed


def test_the_picture_says_how_many_runs_a_setting_has(sweep):
    rows = evolved(collect(sweep, [str(number) for number in range(len(ITEMS))]))
    axes = blank_figure(4, 4).subplots()
    _draw(axes, summarise(rows), rows)
    labels = {label.get_text() for label in axes.get_yticklabels()}
    assert labels == {"strategy=cma_es (3 runs)", "strategy=random (3 runs)"}


def test_settings_that_were_measured_differently_are_not_compared(sweep):
    items = np.ones(7)
    for number in range(3):
        result = Result.of("evolved", Counted(7, split="test"), items)
        save_results([result], sweep / str(number) / "results.json")
    printed = shown(sweep)
    assert "differences between settings" not in printed
    assert not (sweep / "comparisons.csv").exists()
    assert (sweep / "compare.png").stat().st_size > 5_000


def test_seeds_alone_have_a_summary_and_no_comparison(sweep):
    for number in range(3, 6):
        (sweep / str(number) / "results.json").unlink()
    printed = shown(sweep)
    assert [r["n"] for r in read(sweep / "summary.csv")] == ["3", "3"]
    assert "differences" not in printed


def test_items_that_were_not_finite_or_are_damaged(tmp_path):
    save_items({"test": {"a": np.array([0.1, np.nan])}}, tmp_path / "items.json")
    found = load_items(tmp_path / "items.json")["test"]["a"]
    np.testing.assert_array_equal(found, [0.1, np.nan])
    for text in ("[]", '{"test": 1}', '{"test": {"a": ["x"]}}', "{"):
        (tmp_path / "items.json").write_text(text)
        assert load_items(tmp_path / "items.json") == {}
