"""The results of all runs of a sweep, a row each, with a column for each key swept over."""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evojax_merge.report.frames import result_row
from evojax_merge.report.items import FILE as ITEMS
from evojax_merge.report.items import Items, load_items
from evojax_merge.report.jobs import kept_overrides
from evojax_merge.report.results import EVOLVED, Result, load_results
from evojax_merge.report.run_files import RESULTS_FILE
from evojax_merge.report.settings import setting_of, swept


@dataclasses.dataclass(frozen=True)
class SweepRow:
    """A result, and the run of the sweep that it belongs to.

    Attributes:
        run: The folder of the run, relative to the sweep's.
        swept: The run's value of each key in which runs differ.
        result: The result.
        items: The results of the run's items, by split and method.
    """

    run: str
    swept: Mapping[str, str]
    result: Result
    items: Items

    @property
    def setting(self) -> str:
        """What runs that differ in the seed alone have in common."""
        return setting_of(self.swept)


def collect(folder: Path, runs: Sequence[str]) -> list[SweepRow]:
    """The results of those runs below a folder that have some.

    Args:
        folder: The folder of a sweep.
        runs: The folders of its runs, relative to that.
    """
    done = [run for run in runs if (folder / run / RESULTS_FILE).is_file()]
    values = swept([kept_overrides(folder / run) for run in done])
    return [
        SweepRow(run, own, result, items)
        for run, own in zip(done, values, strict=True)
        for items in [load_items(folder / run / ITEMS)]
        for result in load_results(folder / run / RESULTS_FILE)
    ]


def evolved(rows: Sequence[SweepRow]) -> list[SweepRow]:
    """The evolved merge of each run on the split that its comparison was made on."""
    first: dict[str, SweepRow] = {}
    for row in rows:
        if row.result.name == EVOLVED:
            first.setdefault(row.run, row)
    return list(first.values())


def write_table(rows: Sequence[SweepRow], path: Path) -> None:
    """Write every result of every run, one a line, with a column for each key that was swept."""
    cells = []
    for row in rows:
        own = result_row(row.result)
        keys = {f"config.{k}" if k in own or k == "run" else k: v for k, v in row.swept.items()}
        cells.append({"run": row.run} | keys | own)
    write_cells(cells, path)


def write_cells(cells: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a CSV of UTF-8 whose columns are the keys of all rows, in the order of the first."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in cells for key in row)))
        writer.writeheader()
        writer.writerows(cells)
