"""Searches of one problem under several names and seeds: their curves, kept and compared."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from rich.table import Table

from experiments.search.ratios import Runs, ratio


class Point(NamedTuple):
    """Where a search stood.

    Attributes:
        candidates: Evaluated so far.
        items: Measured so far, of all candidates.
        seconds: Of the processor.
        validation: Share of the held-out items that what it recommends answers.
    """

    candidates: int
    items: int
    seconds: float
    validation: float


class Search(NamedTuple):
    """One run, ended after ``cap`` items unless it was over before."""

    name: str
    seed: int
    cap: int
    curve: tuple[Point, ...] = ()

    def path(self, folder: Path) -> Path:
        """The file of this run."""
        return folder / f"{self.name}_{self.seed}_{self.cap}.json"

    def save(self, folder: Path) -> None:
        """Write it."""
        self.path(folder).write_text(json.dumps(self.curve) + "\n")

    def reached(self, target: float, cap: int) -> Point | None:
        """Where it first was at the target, within a cap."""
        within = (point for point in self.curve if point.items <= cap)
        return next((point for point in within if point.validation >= target), None)

    def at(self, items: int) -> float:
        """Held-out score when so many items had been measured."""
        within = [point.validation for point in self.curve if point.items <= items]
        return within[-1] if within else float("nan")


def load(folder: Path) -> list[Search]:
    """All runs in a folder."""
    found = []
    for path in sorted(folder.glob("*_*_*.json")):
        name, seed, cap = path.stem.rsplit("_", 2)
        curve = tuple(Point(*point) for point in json.loads(path.read_text()))
        found.append(Search(name, int(seed), int(cap), curve))
    return found


def save_all(searches: Sequence[Search], path: Path) -> None:
    """All runs in one file, a line each; of a curve the columns of `Point`."""
    lines = [
        json.dumps(
            {
                **{key: getattr(search, key) for key in ("name", "seed", "cap")},
                **dict(zip(Point._fields, zip(*search.curve, strict=True), strict=True)),
            }
        )
        for search in searches
    ]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def ends(searches: Sequence[Search], target: float, whole: int) -> Table:
    """What it took to reach the target, cheapest first, and where the searches ended.

    Args:
        searches: Runs.
        target: Share of the held-out items.
        whole: Items of a search that is carried to its end.
    """
    shown = Table(
        *("contestant", "items at the end", "reached", "items to target, median (least)", "of all"),
        *("seconds", "after a tenth, %", "end, % (range)"),
        title=f"target {100 * target:.1f} % of the validation items",
    )
    rows = []
    for (name, cap), runs in _groups(searches):
        at = [run.reached(target, cap) for run in runs]
        items = [point.items if point else np.inf for point in at]
        seconds = median(point.seconds if point else np.inf for point in at)
        tenth = 100 * median(run.at(whole // 10) for run in runs)
        last = [100 * run.curve[-1].validation for run in runs]
        cells = (
            name,
            f"{median(run.curve[-1].items for run in runs):,.0f}",
            f"{sum(point is not None for point in at)} of {len(runs)}",
            f"{_number(median(items))} ({_number(min(items))})",
            f"{median(items) / whole:.2f}" if np.isfinite(median(items)) else "–",
            _number(seconds),
            f"{tenth:.1f}",
            f"{median(last):.1f} ({min(last):.1f} – {max(last):.1f})",
        )
        rows.append((median(items), cells))
    for _, cells in sorted(rows, key=lambda row: row[0]):
        shown.add_row(*cells)
    return shown


def against(
    searches: Sequence[Search], reference: str, cap: int, targets: Sequence[float]
) -> Table:
    """Expected items to each target within a cap, and their ratio to those of a reference."""
    shown = Table("contestant", "runs", title=f"expected items, at most {cap:,} a run")
    for target in targets:
        shown.add_column(f"to {100 * target:.1f} %")
        shown.add_column("ratio (95 % interval)")
    found: dict[str, dict[int, Search]] = {}
    for search in searches:
        if search.cap >= cap:
            found.setdefault(search.name, {}).setdefault(search.seed, search)
    for name, runs in found.items():
        cells = []
        for target in targets:
            own, other = (
                _runs(list(found[key].values()), target, cap) for key in (name, reference)
            )
            at = f"{own.expected():,.0f}" if own.reached.any() else "–"
            known = own.reached.any() or other.reached.any()
            cells += [at, (str(ratio(own, other)) if known else "–") if name != reference else "1"]
        shown.add_row(name, str(len(runs)), *cells)
    return shown


def _groups(searches: Sequence[Search]) -> Iterator[tuple[tuple[str, int], list[Search]]]:
    groups: dict[tuple[str, int], list[Search]] = {}
    for search in searches:
        groups.setdefault((search.name, search.cap), []).append(search)
    return iter(groups.items())


def _runs(searches: Sequence[Search], target: float, cap: int) -> Runs:
    at = [search.reached(target, cap) for search in searches]
    cost = [
        point.items if point else min(cap, search.curve[-1].items)
        for point, search in zip(at, searches, strict=True)
    ]
    reached = [point is not None for point in at]
    return Runs(np.array(cost, float), np.array(reached), float(cap))


def _number(value: float) -> str:
    return f"{value:,.0f}" if np.isfinite(value) else "–"
