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

from evojax_merge import hosts
from evojax_merge.documents.terminal import cell, say
from evojax_merge.report.curves import FILE, load_curve, plot_curves
from evojax_merge.report.results import Result, choice_line, flat, load_results, score_text

TABLE = "results.csv"
PICTURE = "curves.png"
ERROR_FILE = "error.txt"
"""What a failed job leaves in its folder."""


class SweepTable(Callback):
    """What writes ``results.csv`` and ``curves.png`` beside the runs of a multirun."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Collect the results of all runs, write them and print a table of them."""
        if not hosts.is_first():
            return
        folder = Path(config.hydra.sweep.dir)
        rows = collect(folder)
        if not rows:
            return
        write_table(rows, folder / TABLE)
        console = Console()
        console.print(sweep_table(rows))
        if line := choice_line([row.result for row in evolved(rows)]):
            say(console, line)
        failed = sorted(path.parent.name for path in folder.glob(f"*/{ERROR_FILE}"))
        if failed:
            say(console, f"failed, see their {ERROR_FILE}: runs {', '.join(failed)}")
        say(console, f"all methods and splits: {folder / TABLE}")
        if curves := collect_curves(folder):
            plot_curves(curves, folder / PICTURE)
            say(console, f"progress on held-out items: {folder / PICTURE}")


@dataclasses.dataclass(frozen=True)
class SweepRow:
    """A result, and the run of the sweep that it belongs to."""

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
    """Write every result of every run, one a line."""
    cells = [
        {"run": row.run, "overrides": row.overrides}
        | flat(row.result)
        | {
            f"{name}.{key}": value
            for name, task in row.result.tasks.items()
            for key, value in flat(task).items()
        }
        for row in rows
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in cells for key in row)))
        writer.writeheader()
        writer.writerows(cells)


def evolved(rows: list[SweepRow]) -> list[SweepRow]:
    """The evolved merge of each run on the split that its comparison was made on."""
    first: dict[str, SweepRow] = {}
    for row in rows:
        if row.result.name == "evolved":
            first.setdefault(row.run, row)
    return list(first.values())


def sweep_table(rows: list[SweepRow]) -> Table:
    """The evolved merge of each run, and in which overrides the runs differ.

    Runs that measured different things have columns of their own.
    """
    common = _common([row.overrides.split() for row in rows])
    shown = evolved(rows)
    heads = list(dict.fromkeys(row.result.head for row in shown))
    tasks = list(
        dict.fromkeys(
            (name, task.measure.head) for row in shown for name, task in row.result.tasks.items()
        )
    )
    table = Table(
        title="evolved merges of the sweep, with 95 % intervals (larger is better)",
        title_justify="left",
        show_lines=True,
    )
    for column in ("run", "overrides", "items"):
        table.add_column(cell(column), overflow="fold")
    for head in (*heads, *(f"{name}: {head}" for name, head in tasks)):
        table.add_column(cell(head), justify="right", overflow="fold")
    table.add_column("evaluations", justify="right", overflow="fold")
    for row in shown:
        result = row.result
        own = {(name, one.measure.head): score_text(one) for name, one in result.tasks.items()}
        chosen = ", chosen by them" if result.chosen_on_these_items else ""
        texts = (
            row.run,
            " ".join(one for one in row.overrides.split() if one not in common),
            f"{result.items}, {result.split}{chosen}",
            *(score_text(result) if head == result.head else "–" for head in heads),
            *(own.get(task, "–") for task in tasks),
            str(result.evaluations),
        )
        table.add_row(*map(cell, texts))
    return table


def _order(name: str) -> tuple[int, str]:
    return (int(name), name) if name.isdigit() else (-1, name)
