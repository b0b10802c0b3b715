"""Operators untuned and evolved, on the bundled experiments, at equal evaluations.

python -m experiments.operators.compare [--experiments digits_clip vision] [--operators svc iso_c]
    [--seeds 0 1 2] [--evaluations 100] [--out runs/operators]

Every search also makes a random search of as many evaluations in the same space. Spaces are those
of the experiments, with the coefficients of the operator. What is finished is not run again.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from evojax_merge import api
from evojax_merge.config import build_task, compose
from evojax_merge.report.items import load_items, save_items
from evojax_merge.report.pairs import Difference, difference
from evojax_merge.report.results import Result, load_results, save_results
from evojax_merge.runs.problem import EVOLVED, RANDOM
from experiments.operators.methods import AVERAGE, Method, methods

EXPERIMENTS = ("digits_clip", "vision", "quickstart")
UNTUNED = "untuned"
RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", nargs="+", choices=EXPERIMENTS, default=EXPERIMENTS)
    parser.add_argument(
        "--operators", nargs="+", choices=list(methods(2)), default=list(methods(2))
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/operators"))
    options = parser.parse_args()
    console = Console()
    for experiment in options.experiments:
        known = methods(len(compose([f"+experiment={experiment}"]).model.sources))
        measure_untuned(options.out, experiment, {name: known[name] for name in options.operators})
        for seed in options.seeds:
            for name in options.operators:
                if name != AVERAGE:
                    config = searching(experiment, known[name], seed, options.evaluations)
                    search(options.out, experiment, name, seed, config, console)
    rows = list(collect(options.out))
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    console.print(table(rows))


def folder_of(out: Path, experiment: str, name: str, which: int | str) -> Path:
    """Where the run of a seed, or the untuned merge, is kept."""
    return out / experiment / f"{name}_{which}"


def measure_untuned(out: Path, experiment: str, chosen: Mapping[str, Method]) -> None:
    """Score operators on the test split at their published values, unless it was done before."""
    config = compose([f"+experiment={experiment}"])
    task = build_task(config).on("test")  # one for all, so that its program is compiled once
    for name, method in chosen.items():
        folder = folder_of(out, experiment, name, UNTUNED)
        if (folder / "results.json").is_file():
            continue
        model = api.merge(
            method.operator,
            list(config.model.sources),
            config.model.base,
            dtype=config.model.dtype,
            **method.values,
            **method.arguments,
        )
        found = api.evaluate(model, task, UNTUNED)
        folder.mkdir(parents=True, exist_ok=True)
        save_items({"test": {UNTUNED: found.items}}, folder / "items.json")
        save_results([found.result], folder / "results.json")


def searching(experiment: str, method: Method, seed: int, evaluations: int) -> DictConfig:
    """The configuration of a search that starts at an operator's published values."""
    config = compose(
        [
            f"+experiment={experiment}",
            f"operator={method.operator}",
            f"seed={seed}",
            f"search.evaluations={evaluations}",
            "baselines.sources=false",
            "baselines.published=false",
            "baselines.random_search=true",
            "export=false",
        ]
    )
    OmegaConf.update(config, "space.coefficients", method.genes(), merge=False)
    return config


def search(
    out: Path, experiment: str, name: str, seed: int, config: DictConfig, console: Console
) -> None:
    """Evolve an operator's coefficients, and draw as many at random, unless it was done before."""
    folder = folder_of(out, experiment, name, seed)
    if not (folder / "results.json").is_file():
        console.print(f"{experiment}: {name}, seed {seed}")
        api.evolve(config, folder, Console(quiet=True))


class Measured(NamedTuple):
    """The test scores of one method, over seeds where it was searched.

    Attributes:
        results: One score for each seed.
        items: The result of every item, the mean over seeds.
    """

    results: list[Result]
    items: np.ndarray

    @property
    def score(self) -> float:
        """The mean over seeds."""
        return mean(one.score for one in self.results)

    def less(self, other: "Measured") -> Difference:
        """How much better it is than another method, item by item."""
        return difference(self.results[0], self.items, other.results[0], other.items)


def collect(out: Path) -> Iterator[dict[str, Any]]:
    """A row for each experiment and operator that was measured."""
    for experiment in EXPERIMENTS:
        found = {
            (name, way): measured
            for name in methods(2)
            for way in (UNTUNED, EVOLVED, RANDOM)
            for measured in [read(out, experiment, name, way)]
            if measured is not None
        }
        untuned = {name: one for (name, way), one in found.items() if way == UNTUNED}
        if not untuned:
            continue
        best = max(untuned, key=lambda name: untuned[name].score)
        for name in untuned:
            row: dict[str, Any] = {"experiment": experiment, "operator": name}
            for way in (UNTUNED, EVOLVED, RANDOM):
                if (name, way) in found:
                    row[way] = described(found[name, way])
            if (name, EVOLVED) in found:
                evolved = found[name, EVOLVED]
                row["best_untuned"] = best
                row["gain"] = gain(evolved.less(untuned[best]))
                row["gain_over_random"] = gain(evolved.less(found[name, RANDOM]))
            yield row


def read(out: Path, experiment: str, name: str, way: str) -> Measured | None:
    """What is there of a method, of all seeds."""
    seeds = [UNTUNED] if way == UNTUNED else sorted(seeds_of(out, experiment, name))
    results, items = [], []
    for seed in seeds:
        folder = folder_of(out, experiment, name, seed)
        if not (folder / "results.json").is_file():
            continue
        results += [
            one
            for one in load_results(folder / "results.json")
            if (one.name, one.split) == (way, "test")
        ]
        items.append(load_items(folder / "items.json")["test"][way])
    return Measured(results, np.mean(items, axis=0)) if results else None


def seeds_of(out: Path, experiment: str, name: str) -> Iterator[int]:
    """The seeds of an operator's runs."""
    for folder in (out / experiment).glob(f"{name}_*"):
        seed = folder.name.removeprefix(f"{name}_")
        if seed.isdecimal():
            yield int(seed)


def described(measured: Measured) -> dict[str, Any]:
    """The scores as they are written, with the interval of one run, since seeds share the items."""
    return {
        "scores": [one.score for one in measured.results],
        "mean": measured.score,
        "low": mean(one.low for one in measured.results),
        "high": mean(one.high for one in measured.results),
        "items": measured.results[0].items,
        "evaluations": measured.results[0].evaluations,
    }


def gain(found: Difference) -> dict[str, float]:
    """A difference as it is written."""
    return {"mean": found.score, "low": found.low, "high": found.high, "p_value": found.p_value}


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows to read, in per cent."""
    shown = Table(
        "experiment", "operator", "untuned", "evolved", "random search", "evolved − best untuned"
    )
    for row in rows:
        better = row.get("gain")
        shown.add_row(
            row["experiment"],
            row["operator"],
            *(_cell(row.get(way)) for way in (UNTUNED, EVOLVED, RANDOM)),
            f"{_signed(better)} (of {row['best_untuned']})" if better else "–",
        )
    return shown


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    ends = f"{100 * found['low']:.1f} – {100 * found['high']:.1f}"
    seeds = len(found["scores"])
    return f"{100 * found['mean']:.1f} ({ends})" + (f", {seeds} seeds" if seeds > 1 else "")


def _signed(found: Mapping[str, float]) -> str:
    return f"{100 * found['mean']:+.1f} ({100 * found['low']:+.1f} – {100 * found['high']:+.1f})"


if __name__ == "__main__":
    main()
