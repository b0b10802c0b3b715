"""Settings of a sweep against each other, paired by seed and by item."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from evojax_merge.documents.terminal import cell
from evojax_merge.fitness.base import FRACTION, Measure
from evojax_merge.report.pairs import Difference, difference, p_text, signed
from evojax_merge.report.repetitions import Spread, holm, spread
from evojax_merge.report.results import EVOLVED
from evojax_merge.report.settings import SEED
from evojax_merge.report.summary import number
from evojax_merge.report.sweep_rows import SweepRow

MOST_BY_ITEM = 45
"""How many pairs of settings are compared by item, which takes a part of a second for each."""

_SAME = 1e-12
"""How far differences may lie apart, as standard deviation, and count as the same."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One setting less another.

    Attributes:
        setting: The setting.
        against: The setting that it is compared with.
        split: The split that both were measured on.
        measure: What the numbers are.
        seeds: The differences of the evolved merges' scores over the seeds that both have. Its
            p-value, of the paired t test, tells whether other seeds would agree.
        holm: That p-value where all settings of the sweep are compared at once; nan if it is alone.
        items: The differences item by item, each item's result averaged over these seeds. It tells
            whether other items would agree. None where the results of items are not kept, or there
            are too many pairs.
    """

    setting: str
    against: str
    split: str
    measure: Measure
    seeds: Spread
    holm: float
    items: Difference | None


def compare_settings(rows: Sequence[SweepRow]) -> list[Comparison]:
    """Compare every two settings that were measured alike, by the seeds that both have.

    Args:
        rows: The evolved merge of each run on the split that it is judged by.
    """
    settings: dict[str, dict[str, SweepRow]] = {}
    for row in rows:
        settings.setdefault(row.setting, {})[row.swept.get(SEED, "")] = row
    pairs = list(itertools.combinations(settings.items(), 2))
    found = []
    for (name, mine), (against, theirs) in pairs:
        common = [seed for seed in mine if seed in theirs and _alike(mine[seed], theirs[seed])]
        if not common:
            continue
        ours, others = [mine[seed] for seed in common], [theirs[seed] for seed in common]
        first = ours[0].result
        apart = [a.result.score - b.result.score for a, b in zip(ours, others, strict=True)]
        few = len(pairs) <= MOST_BY_ITEM
        items = _by_item(name, ours, against, others) if few else None
        found.append(
            Comparison(
                name, against, first.split, first.measure, _over_seeds(apart), math.nan, items
            )
        )
    raised = holm([one.seeds.p_value for one in found])
    return [dataclasses.replace(one, holm=p) for one, p in zip(found, raised, strict=True)]


def _over_seeds(apart: Sequence[float]) -> Spread:
    """The differences of seeds; without interval and p-value where they are all the same.

    A few seeds may agree by chance, and then say nothing of how far others would be off.
    """
    found = spread(apart)
    if found.deviation <= _SAME * max(1.0, abs(found.mean)):
        return found._replace(low=math.nan, high=math.nan, deviation=0.0, p_value=math.nan)
    return found


def _alike(one: SweepRow, other: SweepRow) -> bool:
    a, b = one.result, other.result
    return (a.measure, a.split, a.items) == (b.measure, b.split, b.items)


def _by_item(
    name: str, ours: Sequence[SweepRow], against: str, others: Sequence[SweepRow]
) -> Difference | None:
    mine, theirs = _mean_items(ours), _mean_items(others)
    if mine is None or theirs is None or mine.shape != theirs.shape:
        return None
    first = dataclasses.replace(ours[0].result, name=name)
    try:
        return difference(first, mine, dataclasses.replace(others[0].result, name=against), theirs)
    except ValueError:  # tasks of other weights
        return None


def _mean_items(rows: Sequence[SweepRow]) -> np.ndarray | None:
    """The result of each item, averaged over runs; None where a run does not have them all."""
    found = [row.items.get(row.result.split, {}).get(EVOLVED) for row in rows]
    if any(one is None or len(one) != rows[0].result.items for one in found):
        return None
    return np.mean([one for one in found if one is not None], axis=0)


def comparison_cells(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """The rows of ``comparisons.csv``."""
    return [
        {
            "setting": one.setting,
            "against": one.against,
            "split": one.split,
            "seeds": one.seeds.size,
            "difference": number(one.seeds.mean),
            "low": number(one.seeds.low),
            "high": number(one.seeds.high),
            "p": number(one.seeds.p_value),
            "p_holm": number(one.holm),
            **_item_cells(one.items),
            "measure": one.measure.name,
            "unit": one.measure.unit,
        }
        for one in comparisons
    ]


def _item_cells(one: Difference | None) -> Mapping[str, Any]:
    if one is None:
        return {}
    return {
        "items": one.items,
        "items_low": number(one.low),
        "items_high": number(one.high),
        "items_p": number(one.p_value),
        "items_test": one.test,
    }


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """A table of differences between settings, with p-values of `Comparison`'s two tests."""
    measure = comparisons[0].measure
    unit = "percentage points" if measure.unit == FRACTION else measure.unit
    title = f"differences between settings, {unit}, with 95 % intervals and p"
    table = Table(title=cell(title), title_justify="left")
    table.add_column(cell("settings"), overflow="fold")
    for head in ("seeds", "difference", "over seeds", "over items"):
        table.add_column(cell(head), justify="right", overflow="fold")
    for one in comparisons:
        low, high, p_value = math.nan, math.nan, math.nan
        if one.items is not None:
            low, high, p_value = one.items.low, one.items.high, one.items.p_value
        over_seeds = _ends(one.measure, one.seeds.low, one.seeds.high)
        texts = (
            f"{one.setting}\nless {one.against}",
            str(one.seeds.size),
            signed(one.measure, one.seeds.mean),
            f"{over_seeds}\np {p_text(one.seeds.p_value)} (Holm {p_text(one.holm)})",
            f"{_ends(one.measure, low, high)}\np {p_text(p_value)}",
        )
        table.add_row(*map(cell, texts))
    return table


def _ends(measure: Measure, low: float, high: float) -> str:
    if not math.isfinite(low) or not math.isfinite(high):
        return "–"
    return f"{signed(measure, low)} – {signed(measure, high)}"
