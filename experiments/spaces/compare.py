"""Parameter space, data flow, hybrid and joint, at equal evaluations.

python -m experiments.spaces.compare [--evaluations 400] [--seeds 0 1 2] [--out runs/spaces]

What is finished is not run again.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from evojax_merge import api
from evojax_merge.config import compose
from evojax_merge.report.results import Result, load_results
from evojax_merge.runs.problem import EXPORTED


class Variant(NamedTuple):
    """A way to search.

    Attributes:
        overrides: What composes it.
        baselines: What is measured beside it, by the keys of ``baselines``.
    """

    overrides: Sequence[str]
    baselines: Sequence[str] = ()


BASELINES = ("sources", "published", "random_search")
PARAMETER, DATAFLOW = "+experiment=spaces_parameter", "+experiment=spaces_dataflow"
VARIANTS = {
    "parameter": Variant([PARAMETER], BASELINES),
    "dataflow": Variant([DATAFLOW], ["random_search"]),
    # A layer of the skeleton is on a path with the probability that CMA-ES begins with.
    "dataflow, catcma": Variant([DATAFLOW, "strategy=catcma", "space.bias=0.05"]),
    "dataflow, no scaling": Variant([DATAFLOW, "space.scaling=off"]),
    "hybrid": Variant(["+experiment=spaces_hybrid"]),
    "joint": Variant(["+experiment=spaces_joint"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=Path("runs/spaces"))
    options = parser.parse_args()
    console = Console()
    for seed in options.seeds:
        for name in options.variants:
            directory = run_directory(options.out, name, seed)
            if not (directory / "results.json").is_file():
                chosen = VARIANTS[name]
                overrides = [
                    *chosen.overrides,
                    f"seed={seed}",
                    f"search.evaluations={options.evaluations}",
                    *(f"baselines.{key}={key in chosen.baselines}" for key in BASELINES),
                ]
                api.evolve(compose(overrides), directory, console)
    rows = list(collect(options.out, options.seeds))
    (options.out / "table.json").write_text(json.dumps(rows, indent=1) + "\n")
    console.print(table(rows))


def run_directory(folder: Path, name: str, seed: int) -> Path:
    """Of the run of a variant."""
    return folder / f"{name.replace(',', '').replace(' ', '_')}_{seed}"


def collect(folder: Path, seeds: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Held-out scores of each variant, and of what was measured beside it, over the seeds."""
    for name in VARIANTS:
        found: dict[str, list[Result]] = {}
        for seed in seeds:
            path = run_directory(folder, name, seed) / "results.json"
            for result in load_results(path) if path.is_file() else ():
                if result.split == "test" and result.name != EXPORTED:
                    found.setdefault(result.name, []).append(result)
        for method, results in found.items():
            yield {
                "space": name,
                "method": method,
                "scores": [result.score for result in results],
                "mean": mean(result.score for result in results),
                # Of one run: seeds share the test items, so that pooling them would be too narrow.
                "low": mean(result.low for result in results),
                "high": mean(result.high for result in results),
                "evaluations": results[0].evaluations,
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
