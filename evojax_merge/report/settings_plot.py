"""A picture of what each setting of a sweep gives: seeds, means and intervals."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evojax_merge.report.plots import blank_figure, colour, drawable, legend_beside, save_figure
from evojax_merge.report.summary import Summary, summarise
from evojax_merge.report.sweep_rows import SweepRow, evolved

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_settings(rows: Sequence[SweepRow], path: Path) -> None:
    """Draw the evolved merges of all settings, the best on top, on the split they are judged by.

    A dot is a run, and a bar the 95 % t interval over seeds. Lines are the base and the best of
    what was not searched. Settings that measured different things have panels of their own.

    Args:
        rows: All results of the sweep.
        path: The PNG that is written.
    """
    panels: dict[tuple[Any, str], list[SweepRow]] = {}
    for row in evolved(rows):
        panels.setdefault((row.result.measure, row.result.split), []).append(row)
    counts = [len({row.setting for row in members}) for members in panels.values()]
    figure = blank_figure(10, sum(1.3 + 0.35 * count for count in counts))
    every = figure.subplots(len(panels), 1, squeeze=False, height_ratios=counts)[:, 0]
    for axes, ((measure, split), members) in zip(every, panels.items(), strict=True):
        _draw(axes, summarise(members), members)
        _draw_unsearched(axes, rows, measure, split)
        items = ", ".join(sorted({str(row.result.items) for row in members}))
        label = f"{measure.head}, {items} items of the {split} split (larger is better)"
        axes.set_xlabel(textwrap.fill(label, 90))
        axes.grid(axis="x", alpha=0.3)
    save_figure(figure, path)


def _draw(axes: "Axes", summaries: Sequence[Summary], members: Sequence[SweepRow]) -> None:
    order = sorted(summaries, key=lambda one: (math.isfinite(one.scores.mean), one.scores.mean))
    for place, one in enumerate(order):
        factor = one.measure.factor
        own = [factor * row.result.score for row in members if row.setting == one.setting]
        axes.plot(own, [place] * len(own), "o", color="black", ms=5, alpha=0.6, zorder=4)
        ends = [[factor * one.scores.low, factor * one.scores.high]]
        if math.isfinite(one.scores.low):
            axes.plot(ends[0], [place, place], color=colour(0), lw=3)
        axes.plot(factor * one.scores.mean, place, "D", color=colour(0), ms=9)
    sizes = [one.scores.size for one in order]
    counts = [f"{size} run{'s' * (size > 1)}" for size in sizes]
    names = [f"{drawable(one.setting)} ({count})" for one, count in zip(order, counts, strict=True)]
    axes.set_yticks(range(len(order)), names)
    axes.set_ylim(-0.7, len(order) - 0.3)


def _draw_unsearched(axes: "Axes", rows: Sequence[SweepRow], measure: Any, split: str) -> None:
    """Draw lines at the base and at the best method without a search."""
    scores = {
        row.result.name: row.result.score
        for row in rows
        if (row.result.measure, row.result.split) == (measure, split)
        and not row.result.evaluations
        and math.isfinite(row.result.score)
    }
    best = max(scores, key=lambda name: scores[name], default=None)
    chosen = {name: style for name, style in (("base", ":"), (best, "--")) if name in scores}
    for name, style in chosen.items():
        at = measure.factor * scores[name]
        axes.axvline(at, color=colour(3), ls=style, lw=2, label=drawable(str(name)))
    if chosen:
        legend_beside(axes, list(axes.lines[-len(chosen) :]))
