"""Searches by tasks of the harness: races, minibatches, interruptions, and what is exported."""

import json

import jax
import numpy as np
import pytest
import yaml

from evojax_merge import api, cli
from evojax_merge.search.loop import search
from tests.fitness.harness.folder import QUICKSTART
from tests.fitness.harness.test_parity import harness

pytestmark = pytest.mark.parity

SAVERS = {
    "racing": ["savers.racing.enabled=true", "savers.racing.blocks=4", "savers.racing.rungs=[1,4]"],
    "minibatch": ["savers.minibatch.enabled=true", "savers.minibatch.size=16"],
}


def overrides(folder, tasks, *more):
    sources = QUICKSTART / "sources"
    return [
        f"model.base={sources / 'base'}",
        f"model.sources=[{sources / 'change'},{sources / 'japanese'}]",
        "operator=task_arithmetic",
        "fitness=lm_eval",
        f"fitness.tasks=[{tasks}]",
        f"fitness.include_path={folder}",
        "fitness.limit=32",
        "strategy=cma_es",
        "strategy.population_size=4",
        "search.evaluations=8",
        "baselines.published=false",
        *more,
    ]


@pytest.mark.parametrize(("saver", "task"), [("racing", "qs_generate"), ("minibatch", "qs_last")])
def test_an_interrupted_search_ends_in_the_same_bits(saver, task, folder, tmp_path, monkeypatch):
    own = (
        [*SAVERS[saver], "fitness.metric='exact_match,flexible'"]
        if task == "qs_generate"
        else SAVERS[saver]
    )
    given = overrides(folder, task, *own)
    whole = api.evolve(given, tmp_path / "whole")

    def stopping(*arguments, **options):
        saved = options["on_generation"]

        def on_generation(metrics):
            saved(metrics)
            raise KeyboardInterrupt

        return search(*arguments, **{**options, "on_generation": on_generation})

    monkeypatch.setattr("evojax_merge.runs.searcher.search", stopping)
    with pytest.raises(KeyboardInterrupt):
        api.evolve(given, tmp_path / "cut")
    monkeypatch.undo()
    resumed = api.resume(tmp_path / "cut", trust_config=True)
    jax.tree.map(np.testing.assert_array_equal, resumed.model.params, whole.model.params)
    assert resumed.result.score == whole.result.score


def test_the_harness_gives_the_export_the_same_scores(folder, tmp_path):
    names = ["qs_generate", "qs_last"]
    given = overrides(folder, ",".join(names), "fitness.weights={qs_generate: 1, qs_last: 0.01}")
    api.evolve(given, tmp_path / "run")
    scores = json.loads((tmp_path / "run/results.json").read_text())
    evolved = next(one for one in scores if one["name"] == "evolved")["tasks"]
    results, _ = harness(tmp_path / "run/export", folder, names, limit=32)
    assert evolved["qs_generate"]["score"] == results["qs_generate"]["exact_match,strict"]
    perplexity = results["qs_last"]["perplexity,none"]
    assert np.exp(-evolved["qs_last"]["score"]) == pytest.approx(perplexity, rel=1e-4)


def test_a_search_is_planned(folder, capsys):
    cli.main(["plan", *overrides(folder, "qs_generate,qs_choice")])
    printed = capsys.readouterr().out
    assert "8 evaluations of 64 items" in printed
    assert "everything fits" in printed


def test_a_run_that_includes_tasks_of_a_stranger_is_refused(folder, tmp_path, capsys):
    api.evolve(overrides(folder, "qs_choice", "search.evaluations=4"), tmp_path / "run")
    for command in ("resume", "evaluate"):
        with pytest.raises(SystemExit):
            cli.main([command, str(tmp_path / "run")])
        assert f"include_path={folder}" in capsys.readouterr().err
    cli.main(["evaluate", str(tmp_path / "run"), "--trust-config"])
    assert "acc" in capsys.readouterr().out
    kept = yaml.safe_load((tmp_path / "run/own_code.yaml").read_text())
    assert str(folder / "metrics.py") in kept[f"include_path={folder}"]
