"""The figure of M2N2 (arXiv 2508.16204) on digits: each method's test accuracy as it searches.

JAX_NUM_CPU_DEVICES=2 python -m experiments.search.m2n2.figure [--evaluations 50000] [--seeds 10]

Writes results.json, after each method, and figure.png. What is finished is not run again. Each
device, here a core, carries out its share of the seeds.
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from evojax_merge.report.plots import save_figure
from experiments.search.m2n2.methods import (
    BESIDE,
    FROM_SCRATCH,
    METHODS,
    POPULATION,
    PRETRAINED,
)
from experiments.search.m2n2.network import pretrained
from experiments.search.m2n2.searching import search

HERE = Path(__file__).parent
SEED = 42
RECORDS = 100
"""How often test accuracy is measured, in all."""

PUBLISHED = {
    "from scratch": {"M2N2": 87, "CMA-ES": 86, "no crossover": 77, "GA": 68, "MAP-Elites": 60},
    "pretrained": {
        "M2N2": 68,
        "no attraction": 66,
        "MAP-Elites": 62,
        "no split point": 58,
        "GA": 52,
    },
}
"""Test accuracy in %, read off the paper's figure."""

ORDER = [
    *(("pretrained", name) for name in PRETRAINED),
    *(("from scratch", name) for name in FROM_SCRATCH),
    *((start, name) for start in ("pretrained", "from scratch") for name in BESIDE),
]

Results = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=50_000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--at-once", type=int, default=1, help="searches that a device vectorises")
    parser.add_argument("--starts", nargs="+", choices=PUBLISHED, default=list(PUBLISHED))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(FROM_SCRATCH))
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    if options.seeds % jax.device_count():
        parser.error(f"--seeds must be a multiple of the {jax.device_count()} devices")
    if options.evaluations < 1 or options.evaluations % (RECORDS * POPULATION):
        parser.error(f"--evaluations must be a multiple of {RECORDS * POPULATION}")
    options.out.mkdir(parents=True, exist_ok=True)
    console, path = Console(), options.out / "results.json"
    settings = {"evaluations": options.evaluations, "seeds": options.seeds}
    results = json.loads(path.read_text()) if path.is_file() else {**settings, "methods": []}
    if any(results[name] != value for name, value in settings.items()):
        parser.error(f"{path} has other evaluations or seeds; give another --out")
    founders = np.asarray(pretrained())
    for start, name in ORDER:
        asked = start in options.starts and name in options.methods
        if not asked or done(results, start, name):
            continue
        strategy = METHODS[name]()
        if start == "pretrained":
            strategy = strategy.seed(founders)
        began = time.perf_counter()
        curves = run(strategy, options.evaluations, options.seeds, options.at_once)
        seconds = time.perf_counter() - began
        results["methods"].append(
            {
                "start": start,
                "name": name,
                "seconds": round(seconds, 1),
                "test_accuracy": np.asarray(curves).round(4).tolist(),
            }
        )
        path.write_text(json.dumps(results) + "\n")
        console.print(f"{start}, {name}: {seconds:.0f} s, {100 * curves[:, -1].mean():.1f} %")
    plot(results, options.out / "figure.png")
    console.print(table(results))


def run(strategy: Any, evaluations: int, seeds: int, at_once: int) -> np.ndarray:
    """Test accuracies [seeds, `RECORDS`] of a method."""
    return np.asarray(
        search(
            strategy,
            jax.random.split(jax.random.key(SEED), seeds),
            records=RECORDS,
            generations=evaluations // strategy.population_size // RECORDS,
            at_once=at_once,
        )
    )


def done(results: Results, start: str, name: str) -> bool:
    """Whether there are results of a method."""
    return any((one["start"], one["name"]) == (start, name) for one in results["methods"])


def plot(results: Results, path: Path) -> None:
    """Mean test accuracy, and between which values the middle half of the seeds lies."""
    drawing = Figure(figsize=(11, 4.4), layout="constrained")
    colours = {name: f"C{number}" for number, name in enumerate(METHODS)}
    for axes, start in zip(drawing.subplots(1, 2, sharey=True), PUBLISHED, strict=True):
        for one in results["methods"]:
            if one["start"] != start:
                continue
            curves = 100 * np.array(one["test_accuracy"])
            at = np.linspace(0, results["evaluations"], curves.shape[1] + 1)[1:]
            colour = colours[one["name"]]
            low, high = np.quantile(curves, [0.25, 0.75], axis=0)
            axes.plot(at, curves.mean(axis=0), color=colour, label=one["name"])
            axes.fill_between(at, low, high, color=colour, alpha=0.15, lw=0)
        axes.set_title(start)
        axes.set_xlabel("forward passes over the training images")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=8)
    drawing.axes[0].set_ylabel(f"test accuracy, %, {results['seeds']} seeds")
    save_figure(drawing, path)


def table(results: Mapping[str, Any]) -> Table:
    """Test accuracies at the end, and the paper's."""
    shown = Table(title=f"{results['evaluations']:,} forward passes, {results['seeds']} seeds")
    for column in ("start", "method", "mean ± std, %", "median", "paper", "seconds"):
        shown.add_column(column)
    for start, published in PUBLISHED.items():
        rows = [one for one in results["methods"] if one["start"] == start]
        for one in sorted(rows, key=_mean, reverse=True):
            last = 100 * np.array(one["test_accuracy"])[:, -1]
            shown.add_row(
                start,
                one["name"],
                f"{last.mean():.1f} ± {last.std(ddof=1):.1f}",
                f"{np.median(last):.1f}",
                str(published.get(one["name"], "–")),
                f"{one['seconds']:.0f}",
            )
    return shown


def _mean(one: Mapping[str, Any]) -> float:
    return float(np.mean([curve[-1] for curve in one["test_accuracy"]]))


if __name__ == "__main__":
    main()
