"""Candidates per second of the vision experiment: ours against the way peers evaluate one.

    python experiments/benchmarks/seeing_candidates.py --out candidates.json

A candidate is a merge of the language models of experiments/vision at new weights, which answers
the first questions about pictures of the search split. Ours builds and measures a generation, with
features of the pictures that were computed once. Without them, tower and projector are merged too,
so that each candidate sees the pictures itself. The peers' way: mergekit merges the language models
to a directory, transformers loads the merge, which takes the place of the LLaVA's language model,
and generates for all questions in one batch. Before anything is timed, the peers' sources are cut
out of the LLaVA, and brought to one vocabulary. With ``--cores 1`` rows of processor time are what
an idle core would take.
"""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from measure import Row, cores, costs_in_turn, main, row
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
from transformers import AutoModelForCausalLM, LlavaForConditionalGeneration
from transformers.utils.logging import disable_progress_bar

from evojax_merge import export
from evojax_merge.config import build, compose
from evojax_merge.fitness.base import BoundTask
from evojax_merge.measuring.mesh import make_mesh
from evojax_merge.runs.merging import Merging
from evojax_merge.runs.parameter import make_evaluator
from evojax_merge.sources.ingredients import Ingredients, load_ingredients
from evojax_merge.sources.plan import plan
from evojax_merge.strategies import Setting

PEER = "mergekit to disk, transformers generate"
REPEATS, ITEMS = 5, 128
SOURCES = Path(__file__).parents[1] / "vision" / "sources"
WHOLE = [f"model.base={SOURCES / 'seer'}", "space.groups=null"]
WHOLE += ["model.parts=[language_model,vision_tower,projector]"]


class Ours(NamedTuple):
    """A generation of candidates, and what they are merged from."""

    measure: Callable[[], Any]
    size: int
    ingredients: Ingredients
    task: BoundTask


def _ours(overrides: list[str]) -> Ours:
    experiment = build(compose(["+experiment=vision", *overrides]))
    choice = experiment.model
    prepared = plan(choice.base, choice.sources, parts=choice.parts)
    ingredients = load_ingredients(prepared)
    task = experiment.task.bind(prepared.reference).take(np.arange(ITEMS))
    space = experiment.space(
        operator=experiment.operator,
        layout=prepared.reference.family.layout(prepared.reference.config),
        sources=choice.source_names,
    )
    strategy = experiment.strategy(Setting(space.lower, space.upper, space.start))
    size = strategy.population_size
    merging = Merging(experiment, prepared, ingredients)
    evaluator = make_evaluator(merging, space, size, {"search": task}, make_mesh())
    rng = np.random.default_rng(0)
    population = rng.uniform(0.6, 1.2, (size, space.dims)).astype(np.float32)
    return Ours(lambda: evaluator(population, "search"), size, ingredients, task)


class Peer:
    """The way of mergekit and transformers, in this process.

    Args:
        ours: What is merged, as a language model alone.
        seen: The task whose batch has the pictures themselves.
        folder: Where checkpoints are written.
    """

    def __init__(self, ours: Ours, seen: BoundTask, folder: Path) -> None:
        self._merge, self._task = folder / "merge", seen
        parts = ours.ingredients
        self._paths = {
            name: str(export(dataclasses.replace(model, carrier=None), folder / name))
            for name, model in (("base", parts.base), *zip("ab", parts.sources, strict=True))
        }
        self._whole = LlavaForConditionalGeneration.from_pretrained(SOURCES / "seer").eval()
        (batch,) = seen.batches
        scale, shift = (one[:, None, None] for one in batch.sight.value.pixels)
        mask = np.arange(batch.tokens.shape[1]) >= batch.start[:, None]
        self._inputs = {
            "input_ids": torch.tensor(batch.tokens, dtype=torch.long),
            "attention_mask": torch.tensor(mask.astype(np.int64)),
            "pixel_values": torch.tensor(batch.tiles[:, 0] * scale + shift),
            "max_new_tokens": seen.request.max_new_tokens,
            "do_sample": False,
            "eos_token_id": list(seen.request.eos_ids),
            "pad_token_id": seen.request.pad_id,
        }

    def __call__(self) -> None:
        """Merge, load, answer and judge."""
        models = [
            {"model": self._paths[name], "parameters": {"weight": weight}}
            for name, weight in (("a", 0.9), ("b", 1.1))
        ]
        recipe = {
            "merge_method": "task_arithmetic",
            "base_model": self._paths["base"],
            "models": models,
            "dtype": "float32",
        }
        config = MergeConfiguration.model_validate(yaml.safe_load(yaml.safe_dump(recipe)))
        run_merge(config, str(self._merge), options=MergeOptions(quiet=True))
        merged = AutoModelForCausalLM.from_pretrained(self._merge, dtype=torch.float32).eval()
        self._whole.model.language_model, self._whole.lm_head = merged.model, merged.lm_head
        known, request = self._inputs["input_ids"].shape[1], self._task.request
        with torch.no_grad():
            tokens = self._whole.generate(**self._inputs)[:, known:].numpy()
        answers = np.full((1, len(tokens), request.max_new_tokens), request.pad_id, np.int32)
        answers[0, :, : tokens.shape[1]] = tokens
        self._task.score([answers])


def benchmark() -> list[Row]:
    disable_progress_bar()
    torch.set_num_threads(cores())
    frozen, merged = _ours([]), _ours(WHOLE)
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(frozen, merged.task, Path(folder))
        ways = {
            "frozen tower": (frozen.measure, frozen.size),
            "each candidate sees": (merged.measure, merged.size),
            PEER: (peer, 1),
        }
        for way, _ in ways.values():
            way()
        costs = costs_in_turn([way for way, _ in ways.values()], REPEATS)
    each = {
        name: (wall / count, work / count)
        for (name, (_, count)), (wall, work) in zip(ways.items(), costs, strict=True)
    }
    ours, rows = each["frozen tower"], []
    for name in list(each)[1:]:
        title = f"candidates, vision, {ITEMS} items"
        wall, work = each[name]
        rows += [
            row(title, 1 / ours[0], "1/s", name, 1 / wall, wall / ours[0]),
            row(f"{title}, processor", ours[1], "s", name, work, work / ours[1]),
        ]
    return rows


if __name__ == "__main__":
    main(benchmark)
