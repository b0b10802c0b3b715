"""Pictures of a finished run."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from evojax_merge.segments import Segment


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, without a display."""
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def assured(row: Mapping[str, Any]) -> float:
    """Fitness of a row of the history as far as it does not hang on the items that were met; see
    `evojax_merge.evolution.evaluation.Evaluation.assured`."""
    fitness = float("nan") if row["fitness"] is None else row["fitness"]
    return float(fitness) - 2 * float(row.get("error") or 0.0)


def plot_fitness(history: Iterable[Mapping[str, Any]], path: Path, task: str) -> None:
    """Best so far, and mean and range of each generation, against evaluations, for each search.

    Where generations met different items, the best is what is `assured`.

    Args:
        history: Rows of `evojax_merge.evolution.history.read_history`.
        path: The PNG to write.
        task: What is on the vertical axis.
    """
    searches: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for row in history:
        fitness = float("nan") if row["fitness"] is None else row["fitness"]
        pair = (fitness, assured(row))
        searches.setdefault(row["search"], {}).setdefault(row["generation"], []).append(pair)
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for colour, (name, generations) in zip(
        ["C0", "C7", "C1", "C2", "C3", "C4"] * len(searches), searches.items(), strict=False
    ):
        every = [np.array(generations[number]) for number in sorted(generations)]
        # By the generation: the history may lack some.
        at = (np.array(sorted(generations)) + 1) * max(map(len, every))
        known = np.array([np.isfinite(pairs[:, 0]).any() for pairs in every])
        if not known.any():
            continue
        at = at[known]
        finite = [pairs[np.isfinite(pairs[:, 0])] for pairs in every]
        finite = [pairs for pairs in finite if len(pairs)]
        tops = np.array([pairs[:, 0].max() for pairs in finite])
        lows = np.array([pairs[:, 0].min() for pairs in finite])
        means = np.array([pairs[:, 0].mean() for pairs in finite])
        best = np.maximum.accumulate([pairs[:, 1].max() for pairs in finite])
        mark = "o" if len(at) == 1 else None
        partly = any((pairs[:, 0] != pairs[:, 1]).any() for pairs in finite)
        kind = " (less two standard errors)" if partly else ""
        axes.plot(at, best, color=colour, lw=2, marker=mark, label=f"{name}: best so far{kind}")
        axes.plot(at, means, color=colour, lw=1, ls="--", label=f"{name}: mean of the generation")
        axes.fill_between(at, lows, tops, color=colour, alpha=0.15, lw=0)
    axes.set_xlabel("evaluations")
    axes.set_ylabel(f"fitness ({task}, search split)")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=8)
    save_figure(figure, path)


def plot_coefficients(
    coefficients: Mapping[str, np.ndarray],
    sources: Sequence[str],
    segments: Sequence[Segment],
    path: Path,
) -> None:
    """Heat map of the coefficients, source × segment, one panel for each coefficient.

    Args:
        coefficients: By name, ``[sources, segments]`` or ``[segments]``.
        sources: Names of the rows.
        segments: The columns.
        path: The PNG to write.
    """
    labels = [segment.label for segment in segments]
    width = max(4.0, 1.2 + 0.75 * len(labels))
    height = 1.1 + 0.55 * len(sources)
    figure = Figure(figsize=(width, height * len(coefficients)), layout="constrained")
    panels = figure.subplots(len(coefficients), squeeze=False)[:, 0]
    for axes, (name, values) in zip(panels, coefficients.items(), strict=True):
        table = np.atleast_2d(np.asarray(values, np.float32))
        rows = list(sources) if table.shape[0] == len(sources) else ["all sources"]
        low, high = min(0.0, float(table.min())), max(1.0, float(table.max()))
        image = axes.imshow(table, cmap="viridis", vmin=low, vmax=high, aspect="auto")
        middle = (low + high) / 2
        for (row, column), value in np.ndenumerate(table):
            shade = "black" if value > middle else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=shade, size=8)
        axes.set_title(name, fontsize=10)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right", fontsize=8)
        figure.colorbar(image, ax=axes, shrink=0.8)
    save_figure(figure, path)
