"""Candidates per second of the quickstart: ours against the way the peers evaluate one.

    python experiments/benchmarks/candidates.py --out candidates.json

A candidate is a merge of the quickstart's sources at new weights, measured on the first 128 items
of the search split. Ours builds and measures a generation at a time, on all cores. The peers' way:
mergekit merges to a directory, transformers loads it, generates for all items in one batch, and
the same task scores the text. Also measured is the host's share of a search's wall time: what is
not spent waiting for the device.
"""

import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import torch
import yaml
from measure import Row, main, row, seconds_in_turn
from transformers import AutoModelForCausalLM

from evojax_merge.config import build, compose
from evojax_merge.measuring.mesh import make_mesh
from evojax_merge.runs.merging import Merging
from evojax_merge.runs.parameter import make_evaluator
from evojax_merge.search.checkpointer import Checkpointer
from evojax_merge.search.history import History
from evojax_merge.search.loop import search
from evojax_merge.sources.ingredients import load_ingredients
from evojax_merge.sources.plan import plan
from evojax_merge.strategies import Setting

PEER = "mergekit to disk, transformers generate"
REPEATS, GENERATIONS = 5, 8
ITEMS = 128
EXPERIMENT = "quickstart"


def benchmark() -> list[Row]:
    experiment = build(compose([f"+experiment={EXPERIMENT}"]))
    choice = experiment.model
    prepared = plan(choice.base, choice.sources)
    ingredients = load_ingredients(prepared)
    task = experiment.task.bind(prepared.reference).take(np.arange(ITEMS))
    layout = prepared.reference.family.layout(prepared.reference.config)
    space = experiment.space(
        operator=experiment.operator, layout=layout, sources=choice.source_names
    )
    strategy = experiment.strategy(Setting(space.lower, space.upper, space.start))
    merging = Merging(experiment, prepared, ingredients)
    evaluator = make_evaluator(
        merging, space, strategy.population_size, {"search": task}, make_mesh()
    )
    rng = np.random.default_rng(0)
    shape = (strategy.population_size, space.dims)
    population = rng.uniform(space.lower, space.upper, shape).astype(np.float32)
    evaluator(population, "search")

    with tempfile.TemporaryDirectory() as folder:
        weights = population[0].reshape(len(choice.sources), -1).mean(axis=1)

        def ours() -> None:
            evaluator(population, "search")

        def peer() -> None:
            _peer_candidate(Path(folder), choice.base, choice.sources, weights.tolist(), task)

        peer()
        times = seconds_in_turn((ours, peer), REPEATS)
    ours_each, peer_each = times[0] / len(population), times[1]
    return [
        row(
            f"candidates, {EXPERIMENT}, {len(task)} items",
            1 / ours_each,
            "1/s",
            PEER,
            1 / peer_each,
            peer_each / ours_each,
        ),
        row("host's share of a search", _host_share(strategy, evaluator), "share"),
    ]


def _peer_candidate(folder: Path, base: str, sources: list[str], weights: list, task) -> None:
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    recipe = {
        "merge_method": "task_arithmetic",
        "base_model": base,
        "models": [
            {"model": source, "parameters": {"weight": weight}}
            for source, weight in zip(sources, weights, strict=True)
        ],
        "dtype": "float32",
    }
    config = MergeConfiguration.model_validate(yaml.safe_load(yaml.safe_dump(recipe)))
    run_merge(config, str(folder), options=MergeOptions(quiet=True))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    outputs = []
    for batch in task.batches:
        mask = np.arange(batch.tokens.shape[1]) >= batch.start[:, None]
        with torch.no_grad():
            tokens = model.generate(
                torch.tensor(batch.tokens, dtype=torch.long),
                attention_mask=torch.tensor(mask.astype(np.int64)),
                max_new_tokens=task.request.max_new_tokens,
                do_sample=False,
                eos_token_id=list(task.request.eos_ids),
                pad_token_id=task.request.pad_id,
            )[:, batch.tokens.shape[1] :].numpy()
        padded = np.full(
            (1, len(tokens), task.request.max_new_tokens), task.request.pad_id, np.int32
        )
        padded[0, :, : tokens.shape[1]] = tokens
        outputs.append(padded)
    task.score(outputs)


def _host_share(strategy, evaluator) -> float:
    """Of the generations after the first, with saving and history: 1 − device / wall."""
    device: list[float] = []
    original = evaluator.outputs

    def timed(genotypes, split):
        began = time.perf_counter()
        found = original(genotypes, split)
        device.append(time.perf_counter() - began)
        return found

    evaluator.outputs = timed
    walls: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        search(
            "evolved",
            strategy,
            lambda population: evaluator(population, "search"),
            key=jax.random.key(0),
            generations=GENERATIONS,
            archive_size=8,
            checkpointer=Checkpointer(Path(folder) / "checkpoints"),
            history=History(Path(folder) / "history.jsonl"),
            on_generation=lambda metrics: walls.append(metrics.seconds),
        )
    evaluator.outputs = original
    per_generation = len(device) // GENERATIONS
    return 1 - sum(device[per_generation:]) / sum(walls[1:])


if __name__ == "__main__":
    main(benchmark)
