"""Scores of the methods that a run compares, as a file and as a table."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from rich.table import Table

from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import read_text
from evojax_merge.documents.json_text import load_json
from evojax_merge.documents.terminal import cell, printable
from evojax_merge.fitness.base import Measure, Task
from evojax_merge.fitness.several import SeveralTasks
from evojax_merge.params.types import Float
from evojax_merge.report.intervals import interval, weighted_interval

EVOLVED = "evolved"
"""What history and results call the search of a run, and its winner."""

CHOSEN = {
    "search": "the items that the search chose by",
    "validation": "the items that the winner was chosen by",
    "test": "items that the search chose by among them",
}
"""What titles of tables call a split whose items had a part in choosing the winners."""


@dataclasses.dataclass(frozen=True)
class TaskScore:
    """How one of several tasks went.

    Attributes:
        measure: What the numbers are.
        weight: The weight of the score in the fitness.
        score: The mean over the items; nan if an item has no finite result.
        low: The lower end of the 95 % interval of the mean; the score where that is known exactly.
        high: The upper end of that interval.
        items: The number of items.
    """

    measure: Measure
    weight: float
    score: float
    low: float
    high: float
    items: int

    @classmethod
    def of(cls, measure: Measure, weight: float, items: Float[np.ndarray, " items"]) -> Self:
        """The score that the results of items make."""
        score = float(np.mean(items, dtype=np.float64))
        low, high = interval(items) if measure.sampled else (score, score)
        return cls(measure, weight, score, low, high, len(items))


@dataclasses.dataclass(frozen=True)
class Result:
    """The score of one method on one split.

    Attributes:
        name: The method.
        split: The split of the task's data.
        score: The fitness, which is the mean over the items or, with several tasks, the weighted
            sum of their means; nan if an item has no finite result.
        low: The lower end of the 95 % interval of the score.
        high: The upper end of that interval.
        items: The number of items, of all tasks together.
        evaluations: How many candidates the method evaluated on the search split to get there.
        seconds: The wall time that it took to find; 0 where nothing was searched.
        item_evaluations: How many items were measured to get there, over all candidates.
        measure: What the score is.
        chosen_on_these_items: Whether the method was chosen by its results on the items of this
            split, or on some of them, so that its score is too high and the interval does not count
            for that.
        tasks: The scores of the single tasks by name; empty where there is one task.
        flawed: How many of its pictures were black or not finite; None where none were drawn.
    """

    name: str
    split: str
    score: float
    low: float
    high: float
    items: int
    evaluations: int
    seconds: float
    item_evaluations: int
    measure: Measure
    chosen_on_these_items: bool
    tasks: Mapping[str, TaskScore]
    flawed: int | None = None

    def __repr__(self) -> str:
        ends = interval_text(self)
        shown = f"{self.measure.text(self.score)}{f' ({ends})' if ends else ''}"
        tasks = [f"{name} {one.measure.text(one.score)}" for name, one in self.tasks.items()]
        more = f"; {', '.join(tasks)}" if tasks else ""
        cost = f", {self.evaluations} evaluations" if self.evaluations else ""
        where = f"{self.counted}{', chosen by them' if self.chosen_on_these_items else ''}"
        return printable(f"Result({self.name}: {self.head} {shown}{more}; {where}{cost})")

    @property
    def standard_error(self) -> float:
        """The standard error of the score, by its interval."""
        return (self.high - self.low) / (2 * 1.96)

    @property
    def head(self) -> str:
        """What the score is, and its unit, for the head of a column."""
        return self.measure._replace(name="fitness").head if self.tasks else self.measure.head

    @property
    def counted(self) -> str:
        """The number of items and the name of their split, to read.

        What has one result for a whole split, as FID has, counts no items.
        """
        split = f"the {self.split} split"
        if not self.tasks:
            return f"{self.items} items of {split}" if self.measure.sampled else split
        items = {name: one.items for name, one in self.tasks.items() if one.measure.sampled}
        if not items:
            return split
        counts = ", ".join(f"{number} of {name}" for name, number in items.items())
        return f"{sum(items.values())} items of {split} ({counts})"

    @classmethod
    def of(
        cls,
        name: str,
        task: Task,
        items: Float[np.ndarray, " items"],
        evaluations: int = 0,
        seconds: float = 0.0,
        item_evaluations: int = 0,
        chosen_on_these_items: bool = False,
        flawed: int | None = None,
    ) -> Self:
        """The result that the results of items make, of a task on its current split."""
        tasks = _by_task(task, items)
        measure = task.measure
        whole = _weighted(measure, tasks) if tasks else TaskScore.of(measure, 1.0, items)
        return cls(
            name,
            task.current_split,
            whole.score,
            whole.low,
            whole.high,
            len(items),
            evaluations,
            round(seconds, 3),
            item_evaluations,
            measure,
            chosen_on_these_items,
            tasks,
            flawed,
        )


def _by_task(task: Task, items: Float[np.ndarray, " items"]) -> dict[str, TaskScore]:
    """The scores of each of several tasks, whose items follow one another."""
    found: dict[str, TaskScore] = {}
    if isinstance(task, SeveralTasks):
        begin = 0
        for name, part in task.tasks.items():
            own = items[begin : begin + len(part)]
            found[name] = TaskScore.of(part.measure, task.weight(name), own)
            begin += len(part)
    return found


def _weighted(measure: Measure, tasks: Mapping[str, TaskScore]) -> TaskScore:
    """The fitness that the scores of several tasks make."""
    parts = tasks.values()
    weights = [one.weight for one in parts]
    score = sum(one.weight * one.score for one in parts)
    low, high = weighted_interval(
        weights, [one.score for one in parts], [(one.low, one.high) for one in parts]
    )
    if not math.isfinite(score):  # by a task without weight, too: the candidate has failed there
        low = high = math.nan
    return TaskScore(measure, 1.0, score, low, high, sum(one.items for one in parts))


def is_chosen_by(task: Task) -> bool:
    """Whether what a search finds is chosen by items of the task's current split.

    It is not by those of a test split, unless they are items of another split too.
    """
    return task.current_split != "test" or getattr(task, "repeated", 0) > 0


def noise_line(results: Sequence[Result]) -> str:
    """A line of a winner's scores on all splits, which tell how lucky that on the search split is.

    The standard error is that of one candidate's mean over the split's items. The best of many
    candidates is lucky by a few of them on the split that chose it, and not on the others. What has
    one result for a whole split has no such error.
    """
    head = f"evolved: {results[0].head}"
    if results[0].measure.sampled:
        head += ", with the standard error of a candidate's score"
    return f"{head}: {', '.join(map(_score_and_error, reversed(results)))}"


def _score_and_error(result: Result) -> str:
    error = result.measure.factor * result.standard_error
    shown = f"{error:.2g}" if math.isfinite(error) else "–"
    chosen = " (chosen by them)" if result.chosen_on_these_items else ""
    score = result.measure.text(result.score)
    if not result.measure.sampled:
        return f"{score} on the {result.split} split{chosen.replace('them', 'it')}"
    return f"{score} ± {shown} on the {result.items} items of the {result.split} split{chosen}"


def choice_line(results: Sequence[Result]) -> str | None:
    """A line of whose scores in a table are too high, and what helps; None where none are."""
    chosen = list(dict.fromkeys(one.name for one in results if one.chosen_on_these_items))
    if not chosen:
        return None
    names = ", ".join(chosen if len(chosen) <= 4 else [chosen[0], "…", chosen[-1]])
    key = "fitness.tasks.NAME" if results[0].tasks else "fitness"
    which = "some of these very items" if results[0].split == "test" else "these very items"
    return (
        f"{names}: chosen by results on {which}, so that the score is too high, which "
        "the interval does not count for. Items that nothing was chosen by make a fair "
        f"comparison: a file of them as {key}.test, or, of a task that divides its one file, a "
        f"share of that by {key}.split=[0.6,0.2,0.2]"
    )


def flaw_line(results: Sequence[Result]) -> str | None:
    """A line of how many pictures cannot be looked at; None where all can, or there are none."""
    counts = [f"{one.flawed} of {one.name}" for one in results if one.flawed]
    if not counts:
        return None
    return f"black pictures, or such with values that are not finite: {', '.join(counts)}"


def save_results(results: Sequence[Result], path: Path) -> None:
    """Write a JSON list of results; what is not finite becomes null."""
    rows = [
        flat(result) | {"tasks": {name: flat(one) for name, one in result.tasks.items()}}
        for result in results
    ]
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_results(path: Path) -> list[Result]:
    """Read what `save_results` wrote.

    Raises:
        ValueError: Another version wrote the file, or it is damaged or holds no result.
    """
    remedy = "finish the run again with resume"
    try:
        rows = load_json(read_text(path))
    except DocumentError as error:
        raise ValueError(f"{path}: {error}; {remedy}") from None
    if not rows:
        raise ValueError(f"{path}: holds no results; {remedy}")
    try:
        return [
            Result(
                **_fields(
                    row
                    | {"tasks": {n: TaskScore(**_fields(one)) for n, one in row["tasks"].items()}}
                )
            )
            for row in rows
        ]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: not a list of results as this version writes them ({error}); {remedy}"
        ) from error


def flat(score: Result | TaskScore) -> dict[str, Any]:
    """The fields of a score as files hold them, without those of its tasks."""
    fields = {field.name: getattr(score, field.name) for field in dataclasses.fields(score)}
    fields.pop("tasks", None)
    if fields.get("flawed", 0) is None:
        del fields["flawed"]
    measure: Measure = fields.pop("measure")
    shown = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in fields.items()
    }
    return {**shown, "measure": measure.name, "unit": measure.unit}


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a score from those that `flat` gives."""
    found: dict[str, Any] = {k: math.nan if value is None else value for k, value in row.items()}
    exact = found["low"] == found["high"] == found["score"]
    measure = Measure(found.pop("measure"), found.pop("unit"), sampled=not exact)
    return {**found, "measure": measure}


def results_table(results: Sequence[Result], name: str) -> Table:
    """A table of the results of one split, each score with its 95 % interval.

    Args:
        results: The results, all of one task or of the same several tasks.
        name: The name of the task.
    """
    first = results[0]
    what = f"fitness = {first.measure.name}" if first.tasks else first.measure.head
    title = f"{what} (larger is better), {first.counted}"
    if name not in (first.measure.name, " + ".join(first.tasks)):
        title = f"{name}: {title}"
    if any(result.chosen_on_these_items for result in results):
        title += f", {CHOSEN[first.split]}"
    if first.tasks:  # many columns: each interval stands below its score
        title += "; each score with its 95 % interval"
    table = Table(title=cell(title), title_justify="left", show_lines=bool(first.tasks))
    table.add_column("method", overflow="fold")
    heads = [f"{key}: {task.measure.head}" for key, task in first.tasks.items()]
    beside = [] if first.tasks else ["95 % interval"]
    for head in (first.head, *beside, *heads, "evaluations", "seconds"):
        table.add_column(cell(head), justify="right", overflow="fold")
    best = max((result.score for result in results if math.isfinite(result.score)), default=None)
    for result in results:
        tasks = [result.tasks[key] for key in first.tasks]
        scores = [result.measure.text(result.score), interval_text(result) or "–"]
        table.add_row(
            cell(result.name),
            *map(cell, [score_text(result), *map(score_text, tasks)] if tasks else scores),
            cell(str(result.evaluations) if result.evaluations else "–"),
            cell(f"{result.seconds:.1f}" if result.seconds else "–"),
            style="bold" if result.score == best else None,
        )
    return table


def interval_text(score: Result | TaskScore) -> str:
    """The interval as text; empty where there is none."""
    if not score.low < score.high:  # nan, or known exactly
        return ""
    return f"{score.measure.text(score.low)} – {score.measure.text(score.high)}"


def score_text(score: Result | TaskScore) -> str:
    """The score as text, with its interval below it where it has one."""
    shown, ends = score.measure.text(score.score), interval_text(score)
    return f"{shown}\n{ends}" if ends else shown
