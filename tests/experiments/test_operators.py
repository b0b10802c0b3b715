"""The comparison of operators reads what its runs leave, and searches begin where papers do."""

from types import SimpleNamespace

import numpy as np
import pytest

from evojax_merge.config import build
from evojax_merge.fitness import ACCURACY
from evojax_merge.report.items import save_items
from evojax_merge.report.results import Result, save_results
from experiments.operators.compare import UNTUNED, collect, folder_of, searching, table
from experiments.operators.methods import AVERAGE, methods


def leave(folder, **items):
    task = SimpleNamespace(current_split="test", measure=ACCURACY)
    folder.mkdir(parents=True)
    save_results(
        [Result.of(name, task, own) for name, own in items.items()], folder / "results.json"
    )
    save_items({"test": items}, folder / "items.json")


def test_rows_have_means_over_seeds_and_the_gain_over_the_best_untuned_method(tmp_path) -> None:
    right = np.arange(40) < 20
    for name, share in [(AVERAGE, 10), ("ties", 12), ("svc", 16)]:
        leave(folder_of(tmp_path, "vision", name, UNTUNED), untuned=1.0 * (np.arange(40) < share))
    for seed in (0, 1):
        evolved, drawn = right | (np.arange(40) == 30 + seed), right
        leave(
            folder_of(tmp_path, "vision", "ties", seed),
            evolved=1.0 * evolved,
            random_search=1.0 * drawn,
        )
    rows = {row["operator"]: row for row in collect(tmp_path)}
    assert list(rows) == [AVERAGE, "ties", "svc"]
    assert rows["ties"]["evolved"]["scores"] == [0.525, 0.525]
    assert rows["ties"]["best_untuned"] == "svc"
    gain = rows["ties"]["gain"]
    assert gain["mean"] == pytest.approx(0.525 - 0.4)
    assert 0 < gain["low"] < gain["mean"] < gain["high"]
    assert rows["ties"]["gain_over_random"]["mean"] == pytest.approx(0.025)
    assert "gain" not in rows["svc"]
    assert table(list(rows.values())).row_count == 3


@pytest.mark.parametrize("name", [name for name in methods(3) if name != AVERAGE])
def test_a_search_starts_at_the_published_values(name) -> None:
    method = methods(3)[name]
    experiment = build(searching("digits_clip", method, 0, 100))
    assert experiment.operator.name == method.made().name
    assert method.values.keys() == {one.name for one in method.made().coefficients}
    given = experiment.space.keywords["coefficients"]
    assert {key: one["start"] for key, one in given.items()} == method.values
