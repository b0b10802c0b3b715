"""The comparison of spaces reads what its runs leave."""

from types import SimpleNamespace

import numpy as np

from evojax_merge.fitness import ACCURACY
from evojax_merge.report.results import Result, save_results
from experiments.spaces.compare import VARIANTS, collect, run_directory, table


def test_each_variant_stands_beside_its_own_random_search(tmp_path) -> None:
    for name in VARIANTS:
        for seed in (0, 1):
            folder = run_directory(tmp_path, name, seed)
            folder.mkdir()
            beside = "random_paths" if name == "hybrid" else "random_search"
            right = (np.arange(8) < 2 + seed).astype(float)
            task = SimpleNamespace(current_split="test", measure=ACCURACY)
            results = [Result.of("evolved", task, right), Result.of(beside, task, 1 - right)]
            save_results(results, folder / "results.json")
    rows = list(collect(tmp_path, (0, 1)))
    assert [row["space"] for row in rows] == [name for name in VARIANTS for _ in range(2)]
    assert [row["scores"] for row in rows] == [[0.25, 0.375], [0.75, 0.625]] * len(VARIANTS)
    assert {row["method"] for row in rows if row["space"] == "hybrid"} == {
        "evolved",
        "random_paths",
    }
    assert table(rows).row_count == len(rows)
