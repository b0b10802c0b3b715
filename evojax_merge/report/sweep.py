"""One table and one picture of everything a multirun did."""

import csv
import dataclasses
from pathlib import Path
from typing import Any

import yaml
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from evojax_merge.report.curves import FILE, load_curve, plot_curves
from evojax_merge.report.results import Result, load_results

TABLE = "results.csv"
PICTURE = "curves.png"
ERROR_FILE = "error.txt"
"""What a failed job leaves in its folder."""


class SweepTable(Callback):
    """Writes ``results.csv`` and ``curves.png`` beside the runs of a multirun, and prints it."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Collect the results of all runs."""
        folder = Path(config.hydra.sweep.dir)
        rows = collect(folder)
        if not rows:
            return
        write_table(rows, folder / TABLE)
        console = Console()
        console.print(sweep_table(rows))
        failed = sorted(path.parent.name for path in folder.glob(f"*/{ERROR_FILE}"))
        if failed:
            console.print(f"failed, see their {ERROR_FILE}: runs {', '.join(failed)}")
        console.print(f"all methods and splits: {folder / TABLE}", soft_wrap=True)
        if curves := collect_curves(folder):
            plot_curves(curves, folder / PICTURE)
            console.print(f"progress on held-out items: {folder / PICTURE}", soft_wrap=True)


@dataclasses.dataclass(frozen=True)
class SweepRow:
    """A result, and which run of the sweep it is of."""

    run: str
    overrides: str
    result: Result


def collect(folder: Path) -> list[SweepRow]:
    """The results of all finished runs below a folder."""
    rows = []
    for path in sorted(folder.glob("*/results.json"), key=lambda path: _order(path.parent.name)):
        overrides = path.parent / "overrides.yaml"
        chosen = yaml.safe_load(overrides.read_text()) if overrides.exists() else []
        name = " ".join(chosen or [])
        rows += [SweepRow(path.parent.name, name, result) for result in load_results(path)]
    return rows


def collect_curves(folder: Path) -> dict[str, list[list[dict[str, Any]]]]:
    """The curves of all runs; those whose overrides differ in the seed alone stand together."""
    curves: dict[str, list[list[dict[str, Any]]]] = {}
    for path in sorted(folder.glob(f"*/{FILE}"), key=lambda path: _order(path.parent.name)):
        if not (curve := load_curve(path)):
            continue
        overrides = path.parent / "overrides.yaml"
        chosen = yaml.safe_load(overrides.read_text()) if overrides.exists() else []
        label = " ".join(one for one in chosen or [] if not one.startswith("seed="))
        curves.setdefault(label, []).append(curve)
    common = _common([label.split() for label in curves])
    return {
        " ".join(one for one in label.split() if one not in common) or "all": runs
        for label, runs in curves.items()
    }


def _common(labels: list[list[str]]) -> set[str]:
    """Overrides that all labels share, which tell none from another."""
    return set.intersection(*map(set, labels)) if len(labels) > 1 else set()


def write_table(rows: list[SweepRow], path: Path) -> None:
    """Every result of every run, one a line."""
    with path.open("w", encoding="utf-8", newline="") as file:
        fields = [field.name for field in dataclasses.fields(Result)]
        writer = csv.writer(file)
        writer.writerow(["run", "overrides", *fields])
        for row in rows:
            values = dataclasses.asdict(row.result)
            writer.writerow([row.run, row.overrides, *(values[field] for field in fields)])


def sweep_table(rows: list[SweepRow]) -> Table:
    """The evolved merge of each run on the split that its comparison was made on, and in which
    overrides the runs differ."""
    common = _common([row.overrides.split() for row in rows])
    table = Table(title="evolved merges of the sweep", title_justify="left")
    for column in ("run", "overrides", "split", "score", "95 % interval", "evaluations"):
        table.add_column(column, justify="left" if column in ("run", "overrides") else "right")
    seen = set()
    for row in rows:
        result = row.result
        if result.name != "evolved" or row.run in seen:
            continue
        seen.add(row.run)
        table.add_row(
            row.run,
            " ".join(one for one in row.overrides.split() if one not in common),
            result.split,
            f"{result.score:.4f}",
            f"{result.low:.4f} – {result.high:.4f}",
            str(result.evaluations),
        )
    return table


def _order(name: str) -> tuple[int, str]:
    return (int(name), name) if name.isdigit() else (-1, name)
