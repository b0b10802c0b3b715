"""How searches got better, by what was spent."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from evojax_merge.fitness.base import Measure
from evojax_merge.report.html.charts import (
    BOTTOM,
    HEIGHT,
    LABELS,
    LEFT,
    TOP,
    WIDTH,
    Chart,
    Level,
    Line,
    Panel,
    Scale,
    level_labels,
    points,
)
from evojax_merge.report.plots import assured
from evojax_merge.report.results import EVOLVED, Result
from evojax_merge.report.searches import Searches

COSTS = {
    "evaluations": "candidates",
    "item_evaluations": "measured items",
    "seconds": "seconds of evaluation",
}


@dataclasses.dataclass
class Progress:
    """A search's scores of one kind, by generation.

    Attributes:
        spent: What was spent by the end of each generation, by the kind of cost.
        best: The best so far.
        mean: The mean of the generation.
        low: The worst of it.
        high: The best of it.
    """

    spent: dict[str, list[float]]
    best: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


def panels(
    history: Iterable[Mapping[str, Any]],
    searches: Searches | None,
    results: Sequence[Result],
    heldout: Sequence[Mapping[str, Any]],
) -> list[Panel]:
    """The panels of a run: of the fitness, and of each of several tasks.

    Args:
        history: The rows that `evojax_merge.search.history.read_history` gives.
        searches: What the searches are, where that was kept.
        results: The results of all methods on one split, whose scores become horizontal lines.
        heldout: The points of the curve on held-out items, where there is one.
    """
    rows = _by_search(history)
    measure = _measure(searches, results)
    names = list(searches.tasks) if searches else list(results[0].tasks) if results else []
    found: list[Panel] = []
    groups: dict[Measure, dict[str, Progress]] = {}
    for name, own in rows.items():
        known = searches.searches.get(name) if searches else None
        goes_by = known.measure if known else measure
        whole = goes_by._replace(name="fitness") if names and goes_by == measure else goes_by
        groups.setdefault(whole, {})[name] = progress(own, None)
    for one, lines in groups.items():
        comparable = one.unit == measure.unit and one.name in (measure.name, "fitness")
        levels = [(r.name, r.score) for r in results] if comparable else []
        found.append(_panel(f"p{len(found)}", one, lines, levels, heldout if comparable else ()))
    for place, name in enumerate(names):
        one = searches.tasks[name] if searches else results[0].tasks[name].measure
        lines = {
            search: progress(own, place)
            for search, own in rows.items()
            if any(len(row.get("objectives") or ()) > place for row in own)
        }
        levels = [(r.name, r.tasks[name].score) for r in results if name in r.tasks]
        if lines:
            labelled = one._replace(name=f"{name}: {one.name}")
            found.append(_panel(f"p{len(found)}", labelled, lines, levels, ()))
    return found


def _by_search(history: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in history:
        rows.setdefault(row["search"], []).append(row)
    return rows


def _measure(searches: Searches | None, results: Sequence[Result]) -> Measure:
    if results:
        return results[0].measure
    return searches.measure if searches else Measure("fitness", "as it is computed")


def progress(rows: Sequence[Mapping[str, Any]], objective: int | None) -> Progress:
    """The scores of a search: its fitness, or an objective by its number."""
    generations: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        generations.setdefault(row["generation"], []).append(row)
    found = Progress({cost: [] for cost in COSTS}, [], [], [], [])
    spent = dict.fromkeys(COSTS, 0.0)
    best = -np.inf
    for number in sorted(generations):
        own = generations[number]
        spent["evaluations"] += len(own)
        spent["item_evaluations"] += sum(row["item_evaluations"] for row in own)
        spent["seconds"] += sum(row["seconds"] or 0.0 for row in own)
        values = np.array([_score(row, objective) for row in own], np.float64)
        sure = [assured(row) for row in own] if objective is None else values
        values = values[np.isfinite(values)]
        best = max([best, *(one for one in sure if np.isfinite(one))])
        if not len(values):
            continue
        for cost, amount in spent.items():
            found.spent[cost].append(amount)
        found.best.append(float(best))
        found.mean.append(float(values.mean()))
        found.low.append(float(values.min()))
        found.high.append(float(values.max()))
    return found


def _score(row: Mapping[str, Any], objective: int | None) -> float:
    scores = row.get("objectives") or ()
    value = row["fitness"] if objective is None else scores[objective : objective + 1]
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    return float("nan") if value is None else float(value)


def _panel(
    key: str,
    measure: Measure,
    searches: Mapping[str, Progress],
    levels: Sequence[tuple[str, float]],
    heldout: Sequence[Mapping[str, Any]],
) -> Panel:
    factor = measure.factor
    levels = [(name, factor * score) for name, score in levels if np.isfinite(score)]
    levels = sorted(levels, key=lambda one: one[1], reverse=True)
    held = [factor * (np.nan if p["heldout"] is None else p["heldout"]) for p in heldout]
    values = [factor * v for one in searches.values() for v in (*one.low, *one.high, *one.best)]
    right = WIDTH - (LABELS if levels else 16)
    up = Scale.over([*values, *(score for _, score in levels), *held], HEIGHT - BOTTOM, TOP)
    placed = level_labels([up(score) for _, score in levels], TOP + 4, HEIGHT - BOTTOM)
    shown = [
        Level(name, measure.text(score / factor), up(score), beside, name == EVOLVED)
        for (name, score), beside in zip(levels, placed, strict=True)
    ]
    charts = {}
    for cost, label in COSTS.items():
        most = [p[cost] for p in heldout] + [one.spent[cost][-1] for one in searches.values()
                                             if one.spent[cost]]  # fmt: skip
        across = Scale(0.0, max([*most, 1e-9]), LEFT, right)
        lines: list[Line] = []
        for colour, (name, one) in enumerate(searches.items()):
            lines += _lines(across, up, name, one, one.spent[cost], factor, colour)
        if held:
            split = heldout[-1].get("split", "held-out")
            line = points(across, up, [p[cost] for p in heldout], held)
            lines.append(Line(f"best so far on the {split} split", line, len(searches), "heldout"))
        charts[cost] = Chart(
            f"{key}-{cost}", measure.head, (across, label), (up, measure.head), lines, shown
        )
    return Panel(measure.head, charts)


def _lines(
    across: Scale,
    up: Scale,
    name: str,
    one: Progress,
    spent: Sequence[float],
    factor: float,
    colour: int,
) -> list[Line]:
    def scaled(values: Sequence[float]) -> list[float]:
        return [factor * value for value in values]

    there = points(across, up, spent, scaled(one.high))
    back = points(across, up, spent, scaled(one.low)).split(" ")
    band = " ".join([there, *reversed(back)])
    return [
        Line(f"{name}: range of a generation", band, colour, "band"),
        Line(f"{name}: mean of a generation", points(across, up, spent, scaled(one.mean)), colour,
             "mean"),
        Line(f"{name}: best so far", points(across, up, spent, scaled(one.best)), colour, "best"),
    ]  # fmt: skip
