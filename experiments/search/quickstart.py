"""How many item-evaluations each strategy needs for what CMA-ES finds in 1,000 candidates.

    python -m experiments.search.quickstart [--contestants cma_es random ...] [--seeds 0 1 2 3 4]

The space is the quickstart's (8 weights), the fitness accuracy on its 128 Japanese word problems.
After each generation the genotype that the strategy recommends (the mean of its distribution, or
the best that it saw) is measured on the 256 validation items, which costs the search nothing and
tells it nothing. The target is the median, over the seeds, of what plain CMA-ES with the paper's
settings recommends after 1,000 candidates. What is finished is not run again.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from evojax_merge.config import build, compose
from evojax_merge.evolution.evaluate import Evaluation
from evojax_merge.evolution.loop import init_state, step
from evojax_merge.evolution.pairing import pair
from evojax_merge.evolution.setups import set_up

RACING = "savers.racing.enabled=true"
ANCHORS = "savers.anchors.enabled=true"
TEXT = "fitness.reference_text='答えは{answer}です。'"
GRADIENT = ["strategy=gradient", TEXT]
MEMETIC = ["strategy=memetic", TEXT]

PLAIN = "cma_es"
CONTESTANTS: dict[str, list[str]] = {
    PLAIN: ["strategy=cma_es", "savers.memory=false"],
    "optuna_cma": ["strategy=optuna_cma"],
    "mergekit_evolve": ["strategy=cma_es", "space.coefficients.weight.start=0.5"],
    "random": ["strategy=random"],
    "snes": ["strategy=snes"],
    "differential_evolution": ["strategy=differential_evolution"],
    "minibatch": ["strategy=cma_es", RACING, "savers.racing.rungs=[1]"],
    "racing": ["strategy=cma_es", RACING],
    "racing_test": ["strategy=cma_es", RACING, "savers.racing.stopping=test"],
    "anchors": ["strategy=cma_es", ANCHORS],
    "racing_anchors": ["strategy=cma_es", RACING, ANCHORS],
    "cr_fm_nes": ["strategy=cr_fm_nes"],
    "cr_fm_nes_racing": ["strategy=cr_fm_nes", RACING],
    "surrogate": ["strategy=surrogate"],
    "gradient": GRADIENT,
    "memetic": MEMETIC,
    "memetic_racing": [*MEMETIC, RACING],
    "memetic_minibatch": [*MEMETIC, RACING, "savers.racing.rungs=[1]"],
}
EVALUATIONS, ITEMS = 1000, 128
CAP = EVALUATIONS * ITEMS // 5
"""Item-evaluations after which a contestant is stopped; the plain search is not."""
STALLED = 20
"""Generations without a measurement after which a search has ended."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--cap", type=int, default=CAP)
    parser.add_argument("--out", type=Path, default=Path("runs/search"))
    parser.add_argument("--target", type=float, help="known already, in place of plain CMA-ES's")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    problems: dict[str, Any] = {}
    for seed in options.seeds:
        for name in options.contestants:
            cap = EVALUATIONS * ITEMS if name == PLAIN else options.cap
            path = options.out / f"{name}_{seed}_{cap}.json"
            if not path.exists():
                curve = run(CONTESTANTS[name], seed, cap, problems)
                path.write_text(json.dumps(curve) + "\n")
                last = curve[-1]
                print(name, seed, last["items"], f"{last['validation']:.4f}", flush=True)
    rows = list(collect(options.out, options.target))
    (options.out / "table.json").write_text(json.dumps(rows, indent=1) + "\n")
    Console(width=140).print(table(rows))


def run(overrides: list[str], seed: int, cap: int, problems: dict[str, Any]) -> list[dict]:
    """One search; where it stood after each generation."""
    shared = ["+experiment=quickstart", f"seed={seed}", f"search.evaluations={EVALUATIONS}"]
    experiment = build(compose([*shared, "search.chunk=2", *overrides]))
    setup = set_up(experiment)
    (stage,) = setup.stages
    likelihood = str(TEXT in overrides)
    if likelihood not in problems:  # the merge is the same for all seeds: it has no random masks
        setup.load(Path("runs"), print)
        problems[likelihood] = stage.problem()
    problem = problems[likelihood]
    strategy, score, _ = pair(problem, stage.strategy, experiment.savers)
    state = init_state(strategy, jax.random.key(seed), 1)
    curve: list[dict] = []
    items, seconds, candidates = 0, 0.0, 0
    while items < cap:
        began = time.process_time()
        state, population, evaluation = step(state, strategy, score)
        seconds += time.process_time() - began
        items += int(evaluation.item_evaluations.sum())
        candidates += len(population)
        curve.append(
            {
                "candidates": candidates,
                "items": items,
                "processor_seconds": round(seconds, 2),
                **incumbent(problem, strategy, state),
            }
        )
        if len(curve) > STALLED and curve[-1 - STALLED]["items"] == items:
            break  # it has converged to what is known: nothing is measured any more
    return curve


def incumbent(problem: Any, strategy: Any, state: Any) -> dict[str, float]:
    """Held-out score of what the strategy recommends, or else of the best that it saw."""
    found = getattr(strategy, "recommend", lambda state: None)(state.strategy)
    genotype = state.archive.genotypes[0] if found is None else found
    evaluation: Evaluation = problem.evaluator(np.asarray(genotype)[None], "validation")
    return {"validation": float(evaluation.fitness[0])}


def collect(folder: Path, target: float | None = None) -> Iterator[dict[str, Any]]:
    """For each contestant what it took to reach the target, and where it ended."""
    curves: dict[str, list[list[dict]]] = {}
    for path in sorted(folder.glob("*_*_*.json")):
        name = path.stem.rsplit("_", 2)[0]
        curves.setdefault(name, []).append(json.loads(path.read_text()))
    if target is None:
        target = median(curve[-1]["validation"] for curve in curves[PLAIN])
    for name, runs in curves.items():
        reached = [
            next((point for point in curve if point["validation"] >= target), None)
            for curve in runs
        ]
        ends = [curve[-1]["validation"] for curve in runs]
        taken = [point["items"] if point else float("inf") for point in reached]
        spent = [point["processor_seconds"] if point else float("inf") for point in reached]
        yield {
            "contestant": name,
            "seeds": len(runs),
            "target": target,
            "reached": sum(point is not None for point in reached),
            "items": _finite(median(taken)),
            "least": _finite(min(taken)),
            "most": _finite(max(taken)),
            "processor_seconds": _finite(median(spent)),
            "tenth": median(_at(curve, EVALUATIONS * ITEMS // 10) for curve in runs),
            "end_items": median(curve[-1]["items"] for curve in runs),
            "end": median(ends),
            "end_low": min(ends),
            "end_high": max(ends),
        }


def _at(curve: list[dict], items: int) -> float:
    """Held-out score when so many items had been measured."""
    within = [point["validation"] for point in curve if point["items"] <= items]
    return within[-1] if within else float("nan")


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def table(rows: list[dict[str, Any]]) -> Table:
    """The rows to read, cheapest first."""
    shown = Table(
        *("contestant", "seeds", "reached", "items to target, median (range)", "seconds"),
        *("of all", "after a tenth, %", "end, %", "after items"),
        title=f"target {100 * rows[0]['target']:.1f} % of the validation items",
    )

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:,.0f}"

    for row in sorted(rows, key=lambda row: row["items"] or float("inf")):
        shown.add_row(
            row["contestant"],
            str(row["seeds"]),
            str(row["reached"]),
            f"{number(row['items'])} ({number(row['least'])} – {number(row['most'])})",
            number(row["processor_seconds"]),
            f"{row['items'] / (EVALUATIONS * ITEMS):.2f}" if row["items"] else "–",
            f"{100 * row['tenth']:.1f}",
            f"{100 * row['end']:.1f} ({100 * row['end_low']:.1f} – {100 * row['end_high']:.1f})",
            number(row["end_items"]),
        )
    return shown


if __name__ == "__main__":
    main()
