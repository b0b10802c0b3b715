"""Parameter space, data flow, hybrid and joint on the quickstart, at equal evaluations.

python -m experiments.spaces.compare [--evaluations 80] [--seeds 0 1 2] [--out runs/spaces]

Every run also makes a random search in its own space, and measures every candidate on the same 128
search items, the quickstart's first. What is finished is not run again.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from evojax_merge import api
from evojax_merge.config import compose
from evojax_merge.report.intervals import interval
from evojax_merge.report.results import load_results
from evojax_merge.runs.problem import EVOLVED, RANDOM, RANDOM_PATHS
from experiments.quickstart.data import evaluation_problems, write_problems

VARIANTS = {
    "parameter": ["+experiment=quickstart", "strategy=cma_es"],
    "dataflow": ["+experiment=quickstart_dataflow"],
    "dataflow, no scaling": ["+experiment=quickstart_dataflow", "space.scaling=off"],
    "hybrid": ["+experiment=quickstart_hybrid"],
    "joint": ["+experiment=quickstart_joint"],
}
ITEMS = 128
METHODS = (EVOLVED, RANDOM, RANDOM_PATHS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=80)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/spaces"))
    options = parser.parse_args()
    console = Console()
    options.out.mkdir(parents=True, exist_ok=True)
    data = (options.out / "search.jsonl").resolve()
    write_problems(data, evaluation_problems("search", count=ITEMS))
    for seed in options.seeds:
        for name, chosen in VARIANTS.items():
            directory = run_directory(options.out, name, seed)
            if not (directory / "results.json").is_file():
                overrides = [
                    *chosen,
                    f"seed={seed}",
                    f"fitness.data={data}",
                    f"search.evaluations={options.evaluations}",
                    "baselines.sources=false",
                    "baselines.published=false",
                    "export=false",
                ]
                api.evolve(compose(overrides), directory, console)
    rows = list(collect(options.out, options.seeds))
    (options.out / "table.json").write_text(json.dumps(rows, indent=1) + "\n")
    console.print(table(rows))


def run_directory(folder: Path, name: str, seed: int) -> Path:
    """Of the run of a variant."""
    return folder / f"{name.replace(',', '').replace(' ', '_')}_{seed}"


def collect(folder: Path, seeds: Iterable[int]) -> Iterable[dict[str, Any]]:
    """Held-out scores of each variant and method over the seeds."""
    for name in VARIANTS:
        for method in METHODS:
            found = [
                result
                for seed in seeds
                for result in load_results(run_directory(folder, name, seed) / "results.json")
                if (result.name, result.split) == (method, "test")
            ]
            if not found:  # of a hybrid the random search is one of paths
                continue
            scores = [result.score for result in found]
            items = found[0].items
            right = round(mean(scores) * items)
            # Of one run: seeds share the test items, so that pooling them would be too narrow.
            low, high = interval(np.repeat([1.0, 0.0], [right, items - right]))
            yield {
                "space": name,
                "method": method,
                "scores": scores,
                "mean": mean(scores),
                "low": low,
                "high": high,
                "evaluations": found[0].evaluations,
            }


def table(rows: Iterable[dict[str, Any]]) -> Table:
    """The rows to read."""
    shown = Table("space", "method", "scores of the seeds, %", "mean, %", "95 % interval")
    for row in rows:
        shown.add_row(
            row["space"],
            row["method"],
            " ".join(f"{100 * score:.1f}" for score in row["scores"]),
            f"{100 * row['mean']:.1f}",
            f"{100 * row['low']:.1f} – {100 * row['high']:.1f}",
        )
    return shown


if __name__ == "__main__":
    main()
