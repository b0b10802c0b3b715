"""Intervals as small pictures within tables."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from evojax_merge.report.html.charts import Scale
from evojax_merge.report.results import Result, TaskScore

_WIDTH = 160


class Bar(NamedTuple):
    """An interval as a picture: its ends, its middle, and whether there is an interval."""

    low: float
    at: float
    high: float
    is_wide: bool


def bars(results: Sequence[Result]) -> dict[str, list[Bar | None]]:
    """Pictures of the intervals of each method, in the scale of each column.

    The first column is the fitness, by the key ``""``, and each task has one of its own.
    """
    columns: dict[str, Sequence[Result | TaskScore]] = {"": results}
    for name in results[0].tasks if results else ():
        columns[name] = [one.tasks[name] for one in results if name in one.tasks]
    return {
        name: bars_of([(one.score, one.low, one.high) for one in scores])
        for name, scores in columns.items()
    }


def bars_of(scores: Sequence[tuple[float, float, float]]) -> list[Bar | None]:
    """Pictures of scores, each with the ends of its interval, in one scale."""
    scale = Scale.over((end for one in scores for end in one), 6, _WIDTH - 6, room=0.02)
    return [_bar(one, scale) for one in scores]


def _bar(one: tuple[float, float, float], scale: Scale) -> Bar | None:
    score, *ends = one
    if not math.isfinite(score):
        return None
    low, high = (end if math.isfinite(end) else score for end in ends)
    return Bar(scale(low), scale(score), scale(high), low < high)
