"""How the searches of a sweep got better: the median over seeds, and the range, of each setting."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from evojax_merge.fitness.base import Measure
from evojax_merge.report.html.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    TOP,
    WIDTH,
    Chart,
    Line,
    Panel,
    Scale,
    points,
)
from evojax_merge.report.html.curves import COSTS, progress
from evojax_merge.report.html.kept import Kept
from evojax_merge.report.results import EVOLVED

_GRID = 120
_MOST = 12
"""How many settings are drawn."""

Series = Mapping[str, Sequence[float]]
"""What was spent, by the kind of cost, and the ``score`` then."""


class Run(NamedTuple):
    """A job of a sweep that was read, and what its setting is called."""

    label: str
    kept: Kept


def sweep_panels(runs: Sequence[Run]) -> list[Panel]:
    """The panels of a sweep: the best so far on the search items, and on held-out items."""
    searched: dict[Measure, dict[str, list[Series]]] = {}
    heldout: dict[tuple[Measure, str], dict[str, list[Series]]] = {}
    for label, kept in runs:
        own = [row for row in kept.history if row["search"] == EVOLVED]
        if own and kept.searches and EVOLVED in kept.searches.searches:
            found = progress(own, None)
            line = {**found.spent, "score": found.best}
            measure = kept.searches.searches[EVOLVED].measure
            searched.setdefault(measure, {}).setdefault(label, []).append(line)
        if kept.curve and all(one["heldout"] is not None for one in kept.curve):
            last = kept.curve[-1]
            scale = Measure(str(last.get("measure")), str(last.get("unit"))), str(last["split"])
            line = {cost: [one[cost] for one in kept.curve] for cost in COSTS}
            line["score"] = [one["heldout"] for one in kept.curve]
            heldout.setdefault(scale, {}).setdefault(label, []).append(line)
    panels = [
        _panel(f"h{at}", f"{measure.head}, of the best so far, on the {split} split", measure, own)
        for at, ((measure, split), own) in enumerate(heldout.items())
    ]
    return panels + [
        _panel(f"s{at}", f"{measure.head}, of the best so far, on the search split", measure, own)
        for at, (measure, own) in enumerate(searched.items())
    ]


def _panel(key: str, title: str, measure: Measure, groups: Mapping[str, Sequence[Series]]) -> Panel:
    chosen = dict(list(groups.items())[:_MOST])
    charts = {}
    for cost, name in COSTS.items():
        begun = {label: [one for one in runs if one["score"]] for label, runs in chosen.items()}
        steps = {label: _steps(runs, cost, measure.factor) for label, runs in begun.items() if runs}
        every = [value for grid, table in steps.values() for value in table.ravel()]
        up = Scale.over(every, HEIGHT - BOTTOM, TOP)
        end = max((float(grid[-1]) for grid, _ in steps.values()), default=1.0)
        across = Scale(0.0, max(end, 1e-9), LEFT, WIDTH - 16)
        lines: list[Line] = []
        for colour, (label, (grid, table)) in enumerate(steps.items()):
            lines += _lines(label, colour, across, up, grid, table)
        charts[cost] = Chart(
            f"{key}-{cost}", title, (across, name), (up, measure.head), lines, band="range of runs"
        )
    return Panel(title, charts)


def _steps(runs: Sequence[Series], cost: str, factor: float) -> tuple[Any, Any]:
    """A grid of costs, and the score of each run at each, ``[runs, grid]``."""
    grid = np.linspace(max(one[cost][0] for one in runs), max(one[cost][-1] for one in runs), _GRID)
    rows = []
    for one in runs:
        at, scores = np.array(one[cost], np.float64), np.array(one["score"], np.float64)
        rows.append(scores[np.maximum(np.searchsorted(at, grid, side="right") - 1, 0)])
    return grid, factor * np.stack(rows)


def _lines(label: str, colour: int, across: Scale, up: Scale, grid: Any, table: Any) -> list[Line]:
    middle = points(across, up, grid, np.median(table, axis=0))
    name = f"{label} ({len(table)})" if len(table) > 1 else label
    lines = [Line(f"{name}, median" if len(table) > 1 else name, middle, colour, "best")]
    if len(table) > 1:
        there = points(across, up, grid, table.max(axis=0))
        back = points(across, up, grid, table.min(axis=0)).split(" ")
        lines.append(Line(f"{name}, range", " ".join([there, *reversed(back)]), colour, "band"))
    return lines
