"""Pictures of a finished run."""

import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evojax_merge.fitness.base import Measure, Task
from evojax_merge.fitness.several import SeveralTasks
from evojax_merge.models.segments import Segment

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def blank_figure(width: float, height: float) -> "Figure":
    """Make a figure with nothing in it, of a size in inches."""
    from matplotlib.figure import Figure  # only here: a run draws at its end, and may start before

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, without a display; all of its texts are shown as they are.

    Names are the users': a ``$`` in one begins no formula, and what the font has no character for
    is drawn as a box.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        text.set_text(drawable(text.get_text()))
    FigureCanvasAgg(figure)
    with rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(path, dpi=150, bbox_inches="tight")


def drawable(name: str) -> str:
    """A name with question marks for what the file system's encoding had no character for.

    Labels of ticks, which are set again as a figure is drawn, need it from the start.
    """
    return name.encode(errors="replace").decode()


def assured(row: Mapping[str, Any]) -> float:
    """The fitness of a row of the history as far as it does not hang on the items that were met, as
    in `evojax_merge.measuring.evaluation.Evaluation.assured`."""
    return _number(row["fitness"]) - 2 * float(row.get("error") or 0.0)


def _number(value: float | None) -> float:
    """A number of the history; nan where the history has none, as for what was not finite."""
    return float("nan") if value is None else float(value)


def plot_fitness(
    history: Iterable[Mapping[str, Any]],
    path: Path,
    task: Task,
    own: Mapping[str, Measure] | None = None,
) -> None:
    """Draw each search's best so far, and each generation's mean and range, by evaluations.

    The fitness has a panel, and so has each of several tasks. Where generations met different
    items, the best fitness is what is `assured`.

    Args:
        history: The rows that `evojax_merge.search.history.read_history` gives.
        path: The PNG that is written.
        task: What was measured.
        own: What searches that score candidates themselves go by, by the name of the search.
    """
    several: Mapping[str, Task] = task.tasks if isinstance(task, SeveralTasks) else {}
    panels: dict[str, _Panel] = {}
    for row in history:
        measure = (own or {}).get(row["search"], task.measure)
        head = (
            measure.head if measure != task.measure or not several else f"fitness = {measure.head}"
        )
        shown = [(f"{head}, {_where(task)}", measure, row["fitness"], assured(row))]
        scores = row.get("objectives", [])
        for (name, one), score in zip(several.items(), scores, strict=False):
            label = f"{name}: {one.measure.head}, {_where(one)}"
            shown.append((label, one.measure, score, _number(score)))
        for label, measure, value, sure in shown:
            panel = panels.setdefault(label, _Panel(measure, {}))
            generations = panel.searches.setdefault(row["search"], {})
            generations.setdefault(row["generation"], []).append((_number(value), sure))
    figure = blank_figure(7, 4.2 * max(len(panels), 1))
    for axes, (label, panel) in zip(
        figure.subplots(max(len(panels), 1), squeeze=False)[:, 0], panels.items(), strict=False
    ):
        _draw_searches(axes, panel)
        axes.set_xlabel("evaluations")
        axes.set_ylabel(textwrap.fill(label, 48))
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=8)
    save_figure(figure, path)


def _where(task: Task) -> str:
    if not task.measure.sampled:
        return "the search split"
    return f"{len(task.on('search'))} items of the search split"


class _Panel(NamedTuple):
    """What is drawn on one scale.

    Attributes:
        measure: What the numbers are.
        searches: The score of each candidate, and what of it is assured, by name of the search and
            by generation.
    """

    measure: Measure
    searches: dict[str, dict[int, list[tuple[float, float]]]]


def _draw_searches(axes: "Axes", panel: _Panel) -> None:
    for colour, (name, generations) in zip(
        ["C0", "C7", "C1", "C2", "C3", "C4"] * len(panel.searches),
        panel.searches.items(),
        strict=False,
    ):
        every = [
            panel.measure.factor * np.array(generations[number]) for number in sorted(generations)
        ]
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


def plot_coefficients(
    coefficients: Mapping[str, np.ndarray],
    sources: Sequence[str],
    segments: Sequence[Segment],
    path: Path,
) -> None:
    """Draw a heat map of the coefficients, source × segment, with a panel for each coefficient.

    Args:
        coefficients: The coefficients by name, ``[sources, segments]`` or ``[segments]``.
        sources: The names of the rows.
        segments: The segments of the columns.
        path: The PNG that is written.
    """
    labels = [drawable(segment.label) for segment in segments]
    width = max(4.0, 1.2 + 0.75 * len(labels))
    height = 1.1 + 0.55 * len(sources)
    figure = blank_figure(width, height * len(coefficients))
    panels = figure.subplots(len(coefficients), squeeze=False)[:, 0]
    for axes, (name, values) in zip(panels, coefficients.items(), strict=True):
        table = np.atleast_2d(np.asarray(values, np.float32))
        rows = list(map(drawable, sources)) if table.shape[0] == len(sources) else ["all sources"]
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
