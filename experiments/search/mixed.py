"""Choices as choices, or relaxed to real numbers: evaluations to a target on mixed functions.

python -m experiments.search.mixed [--pairs 8 32] [--dataflow] [--seeds 15] [--out FILE]

Functions of `landscapes.MIXED`, with as many choices as real numbers, and with ``--dataflow`` a
synthetic path with a scale for each hop. Every strategy as its name configures it.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.search import landscapes
from experiments.search.bbob import GENERATIONS, POPULATION, TARGETS, build, make_search
from experiments.search.ratios import Runs, ratio

STRATEGIES = ("catcma", "cma_es", "cr_fm_nes", "snes")
REFERENCE = "catcma"
NOISES = (0.0, 0.05)
BUDGETS = {8: 2_000, 32: 4_000}
"""Evaluations for each number of pairs of a choice and a real number."""


def measure(name: str, strategy_name: str, pairs: int, seeds: int) -> list[dict]:
    """Evaluations to each target, 0 where it was not reached, for each noise and seed."""
    box = landscapes.mixed_box(name, pairs)
    strategy = build(strategy_name, box)
    size, budget = strategy.population_size, BUDGETS[pairs]
    search = make_search(strategy, landscapes.make_mixed_gap(name, box), budget // size)
    instances = [landscapes.make_mixed_instance(name, pairs, seed) for seed in range(seeds)]
    rows = []
    for noise in NOISES:
        reached = [
            np.asarray(search(jax.random.key(seed), instance, noise)[0]) * size
            for seed, instance in enumerate(instances)
        ]
        rows.append(
            {
                "pairs": pairs,
                "function": name,
                "noise": noise,
                "strategy": strategy_name,
                "population": size,
                "budget": budget,
                "evaluations": np.stack(reached).tolist(),
            }
        )
    return rows


SLOTS = 192


def measure_dataflow(name: str, seeds: int) -> dict:
    """What remains of the gap of a path after a quarter and all of the paper's evaluations."""
    box = landscapes.dataflow_box(SLOTS, scaling="hop")
    strategy = build(name, box, population_size=POPULATION)
    search = make_search(strategy, landscapes.make_dataflow_gap(box), GENERATIONS)
    best = [
        np.asarray(
            search(
                jax.random.key(seed), landscapes.make_dataflow_instance(box, SLOTS, seed), NOISES[1]
            )[1]
        )
        for seed in range(seeds)
    ]
    gaps = np.minimum.accumulate(np.stack(best), axis=1)
    return {
        "function": "path",
        "noise": NOISES[1],
        "dims": len(box.start),
        "strategy": name,
        "population": POPULATION,
        "quarter": gaps[:, GENERATIONS // 4 - 1].tolist(),
        "all": gaps[:, -1].tolist(),
    }


def dataflow_table(rows: list[dict]) -> Table:
    """Medians and ranges of the share of the gap that remains."""
    shown = Table("strategy", "3,200 evaluations", "12,800 evaluations", title="path, 384 genes")
    for row in rows:
        parts = [np.array(row[part]) for part in ("quarter", "all")]
        cells = (f"{np.median(at):.3f} ({at.min():.3f} – {at.max():.3f})" for at in parts)
        shown.add_row(row["strategy"], *cells)
    return shown


def runs_of(rows: list[dict], target: int) -> Runs:
    """The runs of some functions ``[functions, seeds]`` to one of the targets."""
    at = np.array([row["evaluations"] for row in rows])[..., target]
    budget = rows[0]["budget"]
    return Runs(np.where(at > 0, at, budget).astype(float), at > 0, budget)


def table(rows: list[dict], pairs: int, noise: float, target: int) -> Table:
    """Median evaluations, how many runs arrived where not all did, and expected evaluations as a
    ratio to those of CatCMA; in the last row its geometric mean."""
    chosen = [row for row in rows if (row["pairs"], row["noise"]) == (pairs, noise)]
    own = {
        name: [row for row in chosen if row["strategy"] == name]
        for name in dict.fromkeys((REFERENCE, *(row["strategy"] for row in chosen)))
    }
    title = f"{pairs} choices and {pairs} real numbers, noise {noise}, {TARGETS[target]} left"
    shown = Table("function", *own, title=title)

    def against(name: str, place: slice) -> str:
        if name == REFERENCE:
            return ""
        runs, reference = (runs_of(own[each][place], target) for each in (name, REFERENCE))
        return str(ratio(runs, reference))

    for place, row in enumerate(own[REFERENCE]):
        cells = []
        for name, each in own.items():
            cost, reached, _ = runs_of(each[place : place + 1], target)
            arrived = "" if reached.all() else f" [{reached.sum()} of {reached.size}]"
            median = f"{np.median(cost):.0f}{arrived}" if reached.any() else "–"
            cells.append(f"{median}; {against(name, slice(place, place + 1))}".rstrip("; "))
        shown.add_row(row["function"], *cells)
    shown.add_row("all, ratio", *(against(name, slice(None)) for name in own))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, nargs="*", choices=BUDGETS, default=list(BUDGETS))
    parser.add_argument("--dataflow", action="store_true")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("experiments/search/mixed.json"))
    options = parser.parse_args()
    rows = json.loads(options.out.read_text()) if options.out.is_file() else []
    asked = [(pairs, name) for pairs in options.pairs for name in options.strategies]
    asked += [(None, name) for name in options.strategies if options.dataflow]
    rows = [row for row in rows if (row.get("pairs"), row["strategy"]) not in asked]
    for pairs, name in asked:
        start = time.perf_counter()
        if pairs is None:
            rows.append(measure_dataflow(name, options.seeds))
        else:
            for function in landscapes.MIXED:
                rows += measure(function, name, pairs, options.seeds)
        lines = ",\n".join(json.dumps(row) for row in rows)
        options.out.write_text(f"[\n{lines}\n]\n")
        print(f"{pairs or 'path'} {name}: {time.perf_counter() - start:.1f} s", flush=True)
    console = Console(width=170)
    mixed = [row for row in rows if "pairs" in row]
    for pairs in dict.fromkeys(row["pairs"] for row in mixed):
        for noise in NOISES:
            for target in (1, 2):
                console.print(table(mixed, pairs, noise, target))
    console.print(dataflow_table([row for row in rows if "pairs" not in row]))


if __name__ == "__main__":
    main()
