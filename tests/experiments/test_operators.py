"""The comparison of operators reads what its runs leave, and searches begin where papers do."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from evojax_merge.config import build
from evojax_merge.fitness import ACCURACY
from evojax_merge.report.items import save_items
from evojax_merge.report.results import Result, save_results
from experiments.operators.compare import RESULTS, searching
from experiments.operators.methods import AVERAGE, methods
from experiments.operators.rows import UNTUNED, collect, folder_of
from experiments.operators.tables import leads, table, tables


def first(right: int, more: tuple[int, ...] = ()) -> np.ndarray:
    """The results of 40 items, of which the first ones are right, and some more."""
    items = 1.0 * (np.arange(40) < right)
    items[list(more)] = 1.0
    return items


def leave(folder: Path, **splits: dict[str, np.ndarray]) -> None:
    """Leave the results of methods by split, as a run does."""
    folder.mkdir(parents=True)
    save_results(
        [
            Result.of(name, SimpleNamespace(current_split=split, measure=ACCURACY), own)
            for split, items in splits.items()
            for name, own in items.items()
        ],
        folder / "results.json",
    )
    save_items(splits, folder / "items.json")


@pytest.fixture
def rows(tmp_path):
    """Rows of three untuned methods, of which one was searched twice, the second time in vain."""
    for name, validation, test in [(AVERAGE, 8, 10), ("ties", 10, 12), ("svc", 20, 16)]:
        leave(
            folder_of(tmp_path, "vision", name, UNTUNED),
            validation={UNTUNED: first(validation)},
            test={UNTUNED: first(test)},
        )
    for seed, validation in enumerate((12, 9)):
        leave(
            folder_of(tmp_path, "vision", "ties", seed),
            test={"evolved": first(20, more=(30 + seed,)), "random_search": first(20)},
            validation={"evolved": first(validation)},
        )
    return {row["operator"]: row for row in collect(tmp_path)}


def test_rows_have_means_over_seeds_and_differences_on_the_same_items(rows) -> None:
    assert list(rows) == [AVERAGE, "ties", "svc"]
    assert rows["ties"]["evolved"]["scores"] == [0.525, 0.525]
    gain = rows["ties"]["gain"]
    assert gain["mean"] == pytest.approx(0.525 - 0.4)
    assert 0 < gain["low"] < gain["mean"] < gain["high"]
    assert rows["ties"]["gain_over_start"]["mean"] == pytest.approx(0.525 - 0.3)
    assert rows["ties"]["gain_over_random"]["mean"] == pytest.approx(0.025)
    assert "gain" not in rows["svc"]


def test_validation_items_choose_the_best_untuned_method(tmp_path) -> None:
    for name, validation, test in [("ties", 20, 12), ("svc", 10, 16)]:
        leave(
            folder_of(tmp_path, "vision", name, UNTUNED),
            validation={UNTUNED: first(validation)},
            test={UNTUNED: first(test)},
        )
    assert {row["best_untuned"] for row in collect(tmp_path)} == {"ties"}


def test_the_start_is_kept_where_validation_prefers_it(rows) -> None:
    assert rows["ties"]["kept"]["scores"] == [0.525, 0.3]
    assert rows["ties"]["gain_kept"]["mean"] == pytest.approx((0.525 + 0.3) / 2 - 0.4)


def test_a_table_says_what_the_rows_say(rows) -> None:
    *_, average, ties, svc = table(list(rows.values())).splitlines()
    assert average.startswith("| plain average | 25.0 (14.2 – 40.2) | – |")
    assert "| 52.5, 52.5: 52.5 (37.5 – 67.1) * | 50.0, 50.0: 50.0 " in ties
    assert "| **40.0 (26.3 – 55.4)** |" in svc
    assert "\n\nvision\n\n| operator |" in tables(list(rows.values()))


def test_evolved_task_arithmetic_is_compared_with_every_untuned_method(tmp_path) -> None:
    for name, test in [("task_arithmetic", 10), ("svc", 16)]:
        leave(
            folder_of(tmp_path, "vision", name, UNTUNED),
            validation={UNTUNED: first(4)},
            test={UNTUNED: first(test)},
        )
    leave(
        folder_of(tmp_path, "vision", "task_arithmetic", 0),
        test={"evolved": first(30), "random_search": first(20)},
        validation={"evolved": first(30)},
    )
    *_, own, svc = leads(list(collect(tmp_path))).splitlines()
    assert own.startswith("| `task_arithmetic` | +50.0 (")
    assert svc.startswith("| `svc` | +35.0 (")


def test_the_readme_has_the_tables_of_the_results() -> None:
    readme = RESULTS.with_name("README.md").read_text(encoding="utf-8")
    for part in tables(json.loads(RESULTS.read_text(encoding="utf-8"))).split("\n\n")[1::2]:
        assert part in readme


@pytest.mark.parametrize("name", [name for name in methods(3) if name != AVERAGE])
def test_a_search_starts_at_the_published_values(name) -> None:
    method = methods(3)[name]
    experiment = build(searching("digits_clip", method, 0, 100))
    assert experiment.operator.name == method.made().name
    assert method.values.keys() == {one.name for one in method.made().coefficients}
    given = experiment.space.keywords["coefficients"]
    assert {key: one["start"] for key, one in given.items()} == method.values
