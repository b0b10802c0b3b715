"""Savers in whole runs: what they measure, and after an interruption."""

from pathlib import Path

import numpy as np
import pytest

from evojax_merge import evolve
from evojax_merge.search.history import read_history

RACING, ANCHORS = "savers.racing.enabled=true", "savers.anchors.enabled=true"
MINIBATCH = "savers.minibatch.enabled=true"
QUICK = [
    "+experiment=digits_halves",
    "strategy.population_size=8",
    "savers.anchors.initial=8",
    "baselines.published=false",
    "baselines.random_search=false",
    "export=false",
]


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "savers",
    [
        pytest.param([RACING], marks=pytest.mark.slow),
        pytest.param([ANCHORS], marks=pytest.mark.slow),
        [RACING, ANCHORS],
        [MINIBATCH],
    ],
    ids="+".join,
)
def test_a_run_measures_less_and_goes_on_as_if_never_interrupted(
    savers: list[str], tmp_path: Path
) -> None:
    whole = evolve([*QUICK, *savers, "search.evaluations=32"], tmp_path / "whole")
    rows = list(read_history(whole.directory / "history.jsonl"))
    items = len(rows[0]["items"])
    measured = np.array([row["item_evaluations"] for row in rows]).reshape(4, 8)
    assert measured[1:].mean() < 0.75 * items
    if ANCHORS in savers:  # two sources are measured before, and counted
        assert 2 * items < measured[0, 0] <= 3 * items
    assert measured[1:].max() <= items

    evolve([*QUICK, *savers, "search.evaluations=16"], tmp_path / "cut")
    (tmp_path / "cut" / "config.yaml").unlink()  # of the same run, but longer
    again = evolve([*QUICK, *savers, "search.evaluations=32"], tmp_path / "cut")
    assert again.recipe.to_yaml() == whole.recipe.to_yaml()
    for row, expected in zip(read_history(again.directory / "history.jsonl"), rows, strict=True):
        assert row["fitness"] == expected["fitness"]
        assert row["item_evaluations"] == expected["item_evaluations"]


def test_a_random_search_beside_minibatches_costs_as_much_and_meets_the_same_items(
    tmp_path: Path,
) -> None:
    given = [*QUICK, MINIBATCH, "search.evaluations=16", "baselines.random_search=true"]
    run = evolve(given, tmp_path)
    rows = list(read_history(run.directory / "history.jsonl"))
    assert {row["item_evaluations"] for row in rows} == {128}
    met = {
        name: {
            np.isfinite(np.array(row["items"], float)).tobytes()
            for row in rows
            if row["search"] == name
        }
        for name in ("evolved", "random_search")
    }
    assert len(met["evolved"]) == 2  # one for each generation
    assert len(met["random_search"]) == 1
    assert {"error" in row for row in rows if row["search"] == "random_search"} == {False}
