"""Choices as choices, or relaxed to real numbers: evaluations to a target on mixed functions.

python -m experiments.search.mixed [--pairs 8 64] [--seeds 15] [--out experiments/search/mixed.json]

Functions of `landscapes.MIXED`, with as many choices as real numbers. Every strategy as its name
configures it.
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
from experiments.search.bbob import TARGETS, build, make_search
from experiments.search.ratios import Runs, ratio

STRATEGIES = ("catcma", "cma_es", "cr_fm_nes", "snes")
REFERENCE = "catcma"
NOISES = (0.0, 0.05)
BUDGETS = {8: 2_000, 64: 8_000}
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


def runs_of(row: dict, target: int) -> Runs:
    """The runs of a row, to one of the targets."""
    at = np.array(row["evaluations"])[:, target]
    return Runs(np.where(at > 0, at, row["budget"]).astype(float), at > 0, row["budget"])


def table(rows: list[dict], pairs: int, noise: float, target: int) -> Table:
    """Median evaluations and the ratio of expected ones to those of CatCMA."""
    chosen = [row for row in rows if (row["pairs"], row["noise"]) == (pairs, noise)]
    names = list(dict.fromkeys(row["strategy"] for row in chosen))
    heads = [REFERENCE, *(f"{name}, ratio" for name in names if name != REFERENCE)]
    title = f"{pairs} choices and {pairs} real numbers, noise {noise}, {TARGETS[target]} left"
    shown = Table("function", *heads, title=title)
    for function in dict.fromkeys(row["function"] for row in chosen):
        own = {r["strategy"]: runs_of(r, target) for r in chosen if r["function"] == function}
        cells = []
        for name in sorted(own, key=lambda name: name != REFERENCE):
            runs = own[name]
            arrived = "" if runs.reached.all() else f" [{runs.reached.sum()}/{len(runs.reached)}]"
            cell = f"{np.median(runs.cost):.0f}{arrived}" if runs.reached.any() else "–"
            if name != REFERENCE and (runs.reached.any() or own[REFERENCE].reached.any()):
                cell += f"; {ratio(runs, own[REFERENCE])}"
            cells.append(cell)
        shown.add_row(function, *cells)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, nargs="+", choices=BUDGETS, default=list(BUDGETS))
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("experiments/search/mixed.json"))
    options = parser.parse_args()
    rows = json.loads(options.out.read_text()) if options.out.is_file() else []
    asked = [(pairs, name) for pairs in options.pairs for name in options.strategies]
    rows = [row for row in rows if (row["pairs"], row["strategy"]) not in asked]
    for pairs, name in asked:
        start = time.perf_counter()
        for function in landscapes.MIXED:
            rows += measure(function, name, pairs, options.seeds)
            lines = ",\n".join(json.dumps(row) for row in rows)
            options.out.write_text(f"[\n{lines}\n]\n")
        print(f"{pairs} {name}: {time.perf_counter() - start:.1f} s", flush=True)
    console = Console(width=170)
    for pairs in dict.fromkeys(row["pairs"] for row in rows):
        for noise in NOISES:
            for target in (1, 2):
                console.print(table(rows, pairs, noise, target))


if __name__ == "__main__":
    main()
