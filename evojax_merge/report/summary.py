"""What each setting of a sweep gives, over the seeds that it was repeated with."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.table import Table

from evojax_merge.documents.terminal import cell
from evojax_merge.fitness.base import Measure
from evojax_merge.report.repetitions import Spread, spread
from evojax_merge.report.settings import SEED
from evojax_merge.report.sweep_rows import SweepRow


class Summary(NamedTuple):
    """A method of a setting on a split, over seeds.

    Attributes:
        setting: The name of the setting.
        values: The setting's value of each key that was swept over, but for the seed.
        method: The method, such as ``evolved``.
        split: The split.
        measure: What the scores are.
        chosen: Whether the method was chosen by items of that split.
        scores: The mean of the scores over seeds, and how sure it is.
        evaluations: The mean number of candidates.
        seconds: The mean time.
    """

    setting: str
    values: Mapping[str, str]
    method: str
    split: str
    measure: Measure
    chosen: bool
    scores: Spread
    evaluations: float
    seconds: float


def summarise(rows: Sequence[SweepRow]) -> list[Summary]:
    """The summaries of all settings, methods and splits, in the order of the rows."""
    groups: dict[tuple[Any, ...], list[SweepRow]] = {}
    for row in rows:
        one = row.result
        groups.setdefault((row.setting, one.name, one.split, one.measure), []).append(row)
    found = []
    for (setting, method, split, measure), members in groups.items():
        results = [row.result for row in members]
        found.append(
            Summary(
                setting,
                {key: value for key, value in members[0].swept.items() if key != SEED},
                method,
                split,
                measure,
                any(one.chosen_on_these_items for one in results),
                spread([one.score for one in results]),
                sum(one.evaluations for one in results) / len(results),
                sum(one.seconds for one in results) / len(results),
            )
        )
    return found


def summary_cells(summaries: Sequence[Summary]) -> list[dict[str, Any]]:
    """The rows of ``summary.csv``."""
    return [
        {
            **one.values,
            "method": one.method,
            "split": one.split,
            "n": one.scores.size,
            "mean": number(one.scores.mean),
            "low": number(one.scores.low),
            "high": number(one.scores.high),
            "deviation": number(one.scores.deviation),
            "evaluations": one.evaluations,
            "seconds": round(one.seconds, 3),
            "chosen_on_these_items": one.chosen,
            "measure": one.measure.name,
            "unit": one.measure.unit,
        }
        for one in summaries
    ]


def summary_table(summaries: Sequence[Summary]) -> Table:
    """A table of what one method gives in each setting, with 95 % t intervals over seeds."""
    first = summaries[0]
    title = f"{first.method}, mean over seeds with its 95 % t interval (larger is better)"
    table = Table(title=cell(title), title_justify="left")
    table.add_column("setting", overflow="fold")
    for head in ("seeds", "score", "mean", "95 % interval", "deviation", "evaluations"):
        table.add_column(cell(head), justify="right", overflow="fold")
    for one in summaries:
        texts = (
            one.setting,
            str(one.scores.size),
            one.measure.head,
            one.measure.text(one.scores.mean),
            ends_text(one.measure, one.scores.low, one.scores.high),
            one.measure.text(one.scores.deviation) if one.scores.size > 1 else "–",
            f"{one.evaluations:g}",
        )
        table.add_row(*map(cell, texts))
    return table


def ends_text(measure: Measure, low: float, high: float) -> str:
    """An interval as text; a dash where there is none."""
    if not math.isfinite(low) or not math.isfinite(high):
        return "–"
    return f"{measure.text(low)} – {measure.text(high)}"


def number(value: float) -> float | None:
    """A number as a CSV holds it, empty where there is none."""
    return value if math.isfinite(value) else None
