"""The comparison of spaces reads what its runs leave; its sources are what they are said to be."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np

from evojax_merge.checkpoints import load
from evojax_merge.fitness import ACCURACY
from evojax_merge.models.decoder import modeling
from evojax_merge.report.results import Result, save_results
from experiments.quickstart.make_sources import SOURCES as QUICKSTART
from experiments.spaces.compare import VARIANTS, collect, run_directory, table
from experiments.spaces.make_sources import SOURCES, resized


def test_each_variant_stands_beside_what_was_measured_with_it(tmp_path) -> None:
    for name in VARIANTS:
        for seed in (0, 1):
            folder = run_directory(tmp_path, name, seed)
            folder.mkdir()
            right = (np.arange(8) < 2 + seed).astype(float)
            task = SimpleNamespace(current_split="test", measure=ACCURACY)
            results = [
                Result.of(method, task, items)
                for method, items in (
                    ("random_search", 1 - right),
                    ("evolved", right),
                    ("exported", right),
                )
            ]
            save_results(results, folder / "results.json")
    rows = list(collect(tmp_path, (0, 1)))
    assert [row["space"] for row in rows] == [name for name in VARIANTS for _ in range(2)]
    assert [row["scores"] for row in rows] == [[0.75, 0.625], [0.25, 0.375]] * len(VARIANTS)
    assert table(rows).row_count == len(rows)


def test_a_resized_model_is_the_same_function_but_for_the_epsilon():
    model = load(QUICKSTART / "base")
    config = dataclasses.replace(model.config, rms_norm_eps=0.0)
    tokens = np.arange(2 * 9).reshape(2, 9) % 50 + 3
    logits = [
        modeling.forward(config, params, tokens, np.zeros(2, np.int32))[0]
        for params in (model.params, resized(model.params, 4.0))
    ]
    np.testing.assert_allclose(*logits, atol=2e-3)


def test_the_two_sources_keep_their_hidden_states_at_different_sizes():
    norms = {}
    for name in ("math", "japanese"):
        embedding = load(SOURCES / name).params["embed_tokens"]["weight"]
        norms[name] = float(jax.numpy.linalg.norm(embedding))
    assert abs(norms["math"] / norms["japanese"] - 2.5) < 1e-5
