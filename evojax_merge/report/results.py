"""Scores of the methods a run compares: as a file, and as a table to read."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from rich.table import Table

from evojax_merge.report.intervals import interval
from evojax_merge.types import Float


@dataclasses.dataclass(frozen=True)
class Result:
    """Score of one method on one split.

    Attributes:
        name: The method.
        split: Of the task's data.
        score: Mean over the items, nan if an item has no finite result.
        low: Lower end of the 95 % interval of the mean.
        high: Upper end.
        items: How many items.
        evaluations: Candidates that the method evaluated on the search split to get there.
        seconds: Wall time it took to find; 0 where nothing was searched.
        item_evaluations: Items measured to get there, over all candidates.
    """

    name: str
    split: str
    score: float
    low: float
    high: float
    items: int
    evaluations: int
    seconds: float
    item_evaluations: int = 0

    @property
    def standard_error(self) -> float:
        """Of the score, by its interval."""
        return (self.high - self.low) / (2 * 1.96)

    @classmethod
    def of(
        cls,
        name: str,
        split: str,
        items: Float[np.ndarray, "items"],
        evaluations: int = 0,
        seconds: float = 0.0,
        item_evaluations: int = 0,
    ) -> Self:
        """The result of per-item results."""
        low, high = interval(items)
        score = float(np.mean(items, dtype=np.float64))
        cost = (evaluations, round(seconds, 3), item_evaluations)
        return cls(name, split, score, low, high, len(items), *cost)


def noise_line(results: Sequence[Result]) -> str:
    """What of a winner's score on the search split is luck: its scores on all splits, with errors.

    The standard error is that of one candidate's mean over the split's items. The best of many
    candidates is lucky by a few of them on the split that chose it, and not on the others.
    """
    scores = [
        f"{result.score:.4g} ± {result.standard_error:.2g} on the {result.split} split"
        for result in reversed(results)
    ]
    return "evolved, with the standard error of a candidate's score: " + ", ".join(scores)


def save_results(results: Sequence[Result], path: Path) -> None:
    """Write a JSON list of results; what is not finite becomes null."""
    rows = [
        {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in dataclasses.asdict(result).items()
        }
        for result in results
    ]
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_results(path: Path) -> list[Result]:
    """Read what `save_results` wrote."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    nan = float("nan")
    return [
        Result(**(row | {key: nan for key, value in row.items() if value is None})) for row in rows
    ]


def results_table(results: Sequence[Result], title: str) -> Table:
    """A table of the results of one split; accuracies in per cent."""
    percent = all(0 <= result.score <= 1 for result in results if math.isfinite(result.score))
    table = Table(title=title, title_justify="left")
    table.add_column("method")
    table.add_column("score, %" if percent else "score", justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column("evaluations", justify="right")
    table.add_column("seconds", justify="right")
    best = max((result.score for result in results if math.isfinite(result.score)), default=None)

    def number(value: float) -> str:
        if not math.isfinite(value):
            return "–"
        return f"{100 * value:.1f}" if percent else f"{value:.4g}"

    for result in results:
        table.add_row(
            result.name,
            number(result.score),
            f"{number(result.low)} – {number(result.high)}",
            str(result.evaluations) if result.evaluations else "–",
            f"{result.seconds:.1f}" if result.seconds else "–",
            style="bold" if result.score == best else None,
        )
    return table
