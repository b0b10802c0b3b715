"""Tables and pictures of everything a multirun did."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from evojax_merge.documents.terminal import cell, say
from evojax_merge.report.comparisons import (
    compare_settings,
    comparison_cells,
    comparison_table,
)
from evojax_merge.report.curves import FILE, load_curve, plot_curves
from evojax_merge.report.jobs import Job, jobs_table, kept_overrides, shared
from evojax_merge.report.results import choice_line, score_text
from evojax_merge.report.run_files import REPORT_FILE
from evojax_merge.report.settings_plot import plot_settings
from evojax_merge.report.summary import summarise, summary_cells, summary_table
from evojax_merge.report.sweep_rows import SweepRow, collect, evolved, write_cells, write_table

TABLE, SUMMARY, COMPARISONS = "results.csv", "summary.csv", "comparisons.csv"
PICTURE, COMPARED = "curves.png", "compare.png"

MOST_COMPARED = 10
"""How many pairs of settings are printed; all of them are in the file."""


def show_sweep(folder: Path, jobs: Sequence[Job], console: Console) -> None:
    """Write the tables, pictures and report of a sweep beside its runs, and print its tables.

    Args:
        folder: The folder of the sweep.
        jobs: How its jobs stand.
        console: Where the tables are printed.
    """
    names = [job.name for job in jobs]
    if rows := collect(folder, names):
        console.print(sweep_table(rows))
        if line := choice_line([row.result for row in evolved(rows)]):
            say(console, line)
        with _written(folder / TABLE, "all methods and splits", console):
            write_table(rows, folder / TABLE)
        _show_settings(folder, rows, console)
    if curves := collect_curves(folder, names):
        with _written(folder / PICTURE, "progress on held-out items", console):
            plot_curves(curves, folder / PICTURE)
    with _written(folder / REPORT_FILE, "report", console):
        _write_page(folder, jobs)
    if any(job.state != "done" for job in jobs):
        console.print(jobs_table(jobs))


def _show_settings(folder: Path, rows: Sequence[SweepRow], console: Console) -> None:
    """Write and print what each setting gives over seeds, and how settings differ.

    A single run has said all of it.
    """
    judged = evolved(rows)
    if len(judged) < 2:
        return
    console.print(summary_table(summarise(judged)))
    with _written(folder / SUMMARY, "means over seeds", console):
        write_cells(summary_cells(summarise(rows)), folder / SUMMARY)
    if comparisons := compare_settings(judged):
        if len(comparisons) <= MOST_COMPARED:
            console.print(comparison_table(comparisons))
        with _written(folder / COMPARISONS, "differences between settings", console):
            write_cells(comparison_cells(comparisons), folder / COMPARISONS)
    with _written(folder / COMPARED, "settings side by side", console):
        plot_settings(rows, folder / COMPARED)


def _write_page(folder: Path, jobs: Sequence[Job]) -> None:
    """Write the report; what is wrong in it hides nothing of what else there is."""
    from evojax_merge.report.html.sweep import write_sweep_report  # and with it jinja2

    try:
        write_sweep_report(folder, jobs)
    except OSError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        warnings.warn(
            f"{folder / REPORT_FILE}: is not written ({reason})", RuntimeWarning, stacklevel=2
        )


@contextlib.contextmanager
def _written(file: Path, content: str, console: Console) -> Iterator[None]:
    """Say that a file was written in the block; a full disk hides nothing of what else there is."""
    try:
        yield
    except OSError as error:
        say(console, f"{file}: cannot be written ({error.strerror})")
    else:
        say(console, f"{content}: {file}")


def collect_curves(folder: Path, runs: Sequence[str]) -> dict[str, list[list[dict[str, Any]]]]:
    """The curves of runs; those whose overrides differ in the seed alone stand together."""
    curves: dict[str, list[list[dict[str, Any]]]] = {}
    for run in runs:
        path = folder / run / FILE
        if not path.is_file() or not (curve := load_curve(path)):
            continue
        label = " ".join(one for one in kept_overrides(path.parent) if not one.startswith("seed="))
        curves.setdefault(label, []).append(curve)
    common = shared([label.split() for label in curves])
    return {
        " ".join(one for one in label.split() if one not in common) or "all": runs
        for label, runs in curves.items()
    }


def sweep_table(rows: Sequence[SweepRow]) -> Table:
    """The evolved merge of each run, and in which overrides the runs differ.

    Runs that measured different things have columns of their own.
    """
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
            " ".join(f"{key}={value}" for key, value in row.swept.items()),
            f"{result.items}, {result.split}{chosen}",
            *(score_text(result) if head == result.head else "–" for head in heads),
            *(own.get(task, "–") for task in tasks),
            str(result.evaluations),
        )
        table.add_row(*map(cell, texts))
    return table
