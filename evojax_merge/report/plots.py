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

    from evojax_merge.report.results import Result


COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000")
"""Colours that those who see few colours tell apart (Okabe & Ito, 2008), but the yellow."""

PALE = "#999999"
"""The grey of what is only there to be compared with."""

_LABEL, _SMALL = 13, 12
"""The least sizes of texts at axes, and of those at ticks and in legends, in points."""


def colour(number: int) -> str:
    """A colour for each of several things."""
    return COLOURS[number % len(COLOURS)]


def legend_beside(
    axes: "Axes",
    drawn: Sequence[Any] | None = None,
    names: Sequence[str] | None = None,
    title: str | None = None,
) -> None:
    """Put a legend to the right of a panel, where it hides nothing.

    Args:
        axes: The panel.
        drawn: What is named; by default, everything that has a label, whatever that begins with.
        names: The names.
        title: The title of the legend.
    """
    if drawn is None:
        every = (*axes.lines, *axes.collections)
        drawn = [one for one in every if not str(one.get_label()).startswith("_child")]
    names = [str(one.get_label()) for one in drawn] if names is None else names
    axes.legend(
        drawn,
        names,
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
    )


def whole_numbers(axes: "Axes") -> None:
    """Put ticks of what is counted, as generations, at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


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
    _make_readable(figure)
    FigureCanvasAgg(figure)
    with rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(path, dpi=150, bbox_inches="tight")


def _make_readable(figure: "Figure") -> None:
    """Enlarge small texts beside the panels, so that they can be read at half the size."""
    for axes in figure.axes:
        for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
            text.set_fontsize(max(_LABEL, text.get_fontsize()))
        axes.tick_params(labelsize=_SMALL)
        if (legend := axes.get_legend()) is not None:
            for text in (*legend.get_texts(), legend.get_title()):
                text.set_fontsize(_SMALL)


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
    others: "Sequence[Result]" = (),
) -> None:
    """Draw each search's best so far, and each generation's mean and range, by evaluations.

    The fitness has a panel, and so has each of several tasks. Where generations met different
    items, the best fitness is what is `assured`.

    Args:
        history: The rows that `evojax_merge.search.history.read_history` gives.
        path: The PNG that is written.
        task: What was measured.
        own: What searches that score candidates themselves go by, by the name of the search.
        others: The results of methods on one split, which are lines across.
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
            panel = panels.setdefault(label, _Panel(measure, {}, {}))
            generations = panel.searches.setdefault(row["search"], {})
            generations.setdefault(row["generation"], []).append((_number(value), sure))
    for label, panel in panels.items():
        part = label.partition(":")[0]
        if part in several or panel.measure == task.measure:
            panel.others.update(_scores(others, part if part in several else None))
    figure = blank_figure(11, 5.0 * max(len(panels), 1))
    for axes, (label, panel) in zip(
        figure.subplots(max(len(panels), 1), squeeze=False)[:, 0], panels.items(), strict=False
    ):
        drawn = _draw_searches(axes, panel)
        axes.set_xlabel("evaluated candidates")
        whole_numbers(axes)
        axes.set_ylabel(textwrap.fill(label, 40))
        axes.grid(alpha=0.3)
        if axes.lines:
            split = f"dotted: on {others[0].counted}" if panel.others else None
            legend_beside(axes, drawn, title=None if split is None else textwrap.fill(split, 36))
    save_figure(figure, path)


def _scores(results: "Sequence[Result]", task: str | None) -> dict[str, float]:
    """The finite scores of methods, or of one of their tasks, by name."""
    scores = {
        one.name: one.score if task is None else one.tasks[task].score
        for one in results
        if task is None or task in one.tasks
    }
    return {name: score for name, score in scores.items() if np.isfinite(score)}


def _where(task: Task) -> str:
    if not task.measure.sampled:
        return "the search split"
    return f"{len(task.on('search'))} items of the search split"


_STYLES = (":", "-.")
"""Styles of the lines across; the second one once all colours are used."""


class _Panel(NamedTuple):
    """What is drawn on one scale.

    Attributes:
        measure: What the numbers are.
        searches: The score of each candidate, and what of it is assured, by name of the search and
            by generation.
        others: The scores of methods that are lines across, by name.
    """

    measure: Measure
    searches: dict[str, dict[int, list[tuple[float, float]]]]
    others: dict[str, float]


def _draw_searches(axes: "Axes", panel: _Panel) -> list[Any]:
    """Draw what is on a panel, and return what its legend names, in order."""
    drawn: list[Any] = []
    tints: dict[str, str] = {}
    for number, (name, generations) in enumerate(panel.searches.items()):
        tint = PALE if name.startswith("random") else colour(number)
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
        tints[name] = tint
        label = f"{name}: best so far{kind}"
        drawn += axes.plot(at, best, color=tint, lw=3, marker=mark, label=label)
        label = f"{name}: mean of a generation"
        drawn += axes.plot(at, means, color=tint, lw=1.8, ls="--", label=label)
        label = f"{name}: worst to best of it"
        drawn.append(axes.fill_between(at, lows, tops, color=tint, alpha=0.2, lw=0, label=label))
    number = 0
    for name, score in panel.others.items():
        tint, style = tints.get(name, colour(number + 1)), _STYLES[number // len(COLOURS) % 2]
        number += name not in tints
        shown, label = panel.measure.factor * score, f"{name} {panel.measure.text(score)}"
        drawn.append(axes.axhline(shown, color=tint, lw=2.2, ls=style, label=label))
    return drawn


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
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=shade, size=11)
        axes.set_title(name)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
        figure.colorbar(image, ax=axes, shrink=0.8)
    save_figure(figure, path)
