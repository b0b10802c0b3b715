"""How fast searches get better, by what each had found after so much was spent."""

import json
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evojax_merge.fitness.base import Measure, Task
from evojax_merge.params.types import Float
from evojax_merge.report.plots import (
    assured,
    blank_figure,
    colour,
    legend_beside,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

FILE = "curve.json"
COSTS = {
    "evaluations": "candidates",
    "item_evaluations": "measured items",
    "seconds": "seconds of evaluation",
}


class Incumbent(NamedTuple):
    """The best candidate of a search after a generation.

    Attributes:
        generation: The number of the generation, from 0.
        evaluations: The number of candidates so far.
        item_evaluations: The number of items measured so far.
        seconds: The time spent on that.
        fitness: The fitness of the best candidate so far, on the search split; where a search
            scores candidates itself, what it goes by.
        genotype: The genotype of the best candidate so far.
    """

    generation: int
    evaluations: int
    item_evaluations: int
    seconds: float
    fitness: float
    genotype: list[float]


def incumbents(history: Iterable[Mapping[str, Any]], search: str, most: int) -> list[Incumbent]:
    """The incumbents of a search, evenly spread over the generations, the last among them.

    Args:
        history: The rows that `evojax_merge.search.history.read_history` gives.
        search: The name of the search.
        most: The largest number of incumbents.
    """
    found: dict[int, Incumbent] = {}
    count, items, seconds = 0, 0, 0.0
    best: Mapping[str, Any] | None = None
    for row in history:
        if row["search"] != search or row.get("genotype") is None:
            continue
        count, items = count + 1, items + row["item_evaluations"]
        seconds += row["seconds"] or 0.0
        if row["fitness"] is not None and (best is None or assured(row) > assured(best)):
            best = row
        if best is not None:
            spent = (count, items, seconds)
            found[row["generation"]] = Incumbent(
                row["generation"], *spent, best["fitness"], best["genotype"]
            )
    every = list(found.values())
    chosen = np.unique(np.linspace(0, len(every) - 1, most).round().astype(int))
    return [every[place] for place in chosen] if every else []


def save_curve(
    points: Sequence[Incumbent], heldout: Sequence[float], task: Task, path: Path
) -> None:
    """Write what each incumbent cost and scored.

    Args:
        points: The incumbents.
        heldout: The score of each on the task's current split.
        task: What was measured.
        path: The JSON that is written.
    """
    scale = {
        "split": task.current_split,
        "items": len(task),
        "measure": task.measure.name,
        "unit": task.measure.unit,
    }
    rows = [
        {name: value for name, value in point._asdict().items() if name != "genotype"}
        | {"heldout": score if math.isfinite(score) else None}
        | scale
        for point, score in zip(points, heldout, strict=True)
    ]
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def load_curve(path: Path) -> list[dict[str, Any]]:
    """Read what `save_curve` wrote."""
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def plot_curves(curves: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], path: Path) -> None:
    """Draw the median over each label's runs, and the range of their middle half, by each cost.

    Runs that measured different things, or on different splits, are drawn in rows of their own.

    Args:
        curves: The curves of the runs of each label.
        path: The PNG that is written.
    """
    rows: dict[tuple[Measure, str, int], dict[str, list[Sequence[Mapping[str, Any]]]]] = {}
    for label, runs in curves.items():
        for run in runs:
            last = run[-1]
            scale = Measure(last["measure"], last["unit"]), last["split"], last["items"]
            rows.setdefault(scale, {}).setdefault(label, []).append(run)
    figure = blank_figure(18, 5.0 * len(rows))
    every = figure.subplots(len(rows), len(COSTS), sharey="row", squeeze=False)
    for panels, ((measure, split, items), labelled) in zip(every, rows.items(), strict=True):
        for axes, (cost, name) in zip(panels, COSTS.items(), strict=True):
            lines = [
                _draw_runs(axes, runs, cost, measure.factor, colour(number))
                for number, runs in enumerate(labelled.values())
            ]
            axes.set_xlabel(name)
            axes.grid(alpha=0.3)
        label = f"{measure.head}, of the best so far, {items} items of the {split} split"
        panels[0].set_ylabel(textwrap.fill(label, 40))
        names = [f"{label} ({len(runs)})" for label, runs in labelled.items()]
        legend_beside(panels[-1], lines, names, title="median of runs, and their middle half")
    save_figure(figure, path)


def _draw_runs(
    axes: "Axes", runs: Sequence[Sequence[Mapping[str, Any]]], cost: str, factor: float, tint: str
) -> "Line2D":
    ends = [run[-1][cost] for run in runs]
    grid = np.linspace(max(run[0][cost] for run in runs), max(ends), 100)
    steps = factor * np.stack([_step(run, cost, grid) for run in runs])
    low, middle, high = np.quantile(steps, [0.25, 0.5, 0.75], axis=0)
    axes.fill_between(grid, low, high, color=tint, alpha=0.2, lw=0)
    (line,) = axes.plot(grid, middle, color=tint, lw=3)
    return line


def _step(
    run: Sequence[Mapping[str, Any]], cost: str, grid: Float[np.ndarray, " points"]
) -> Float[np.ndarray, " points"]:
    at = np.array([point[cost] for point in run], np.float64)
    scores = np.array([point["heldout"] for point in run], np.float64)
    return scores[np.maximum(np.searchsorted(at, grid, side="right") - 1, 0)]
