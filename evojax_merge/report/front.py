"""The Pareto front of a run as a file and as a picture, and the choice of one of its members."""

import dataclasses
import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from evojax_merge.documents import schema
from evojax_merge.documents.errors import DocumentError, named
from evojax_merge.documents.files import read_text
from evojax_merge.documents.json_text import load_object
from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.base import Measure
from evojax_merge.params.types import Float
from evojax_merge.report.hypervolume import hypervolume, non_dominated
from evojax_merge.report.plots import (
    PALE,
    blank_figure,
    colour,
    legend_beside,
    save_figure,
    whole_numbers,
)
from evojax_merge.report.results import Result

FILE = "front.json"
FOLDER = "front"
"""The folder of a run for the recipes of the members, ``0.yaml`` and so on."""

KNEE = "knee"

_MARKS = ("s", "^", "v", "D", "P", "X", "<", ">")


@dataclasses.dataclass(frozen=True)
class Member:
    """A merge that no other one of the front beats in all tasks.

    Attributes:
        recipe: The path of its recipe, relative to the run.
        scores: The mean of each task, by split and name.
    """

    recipe: str
    scores: dict[str, dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Front:
    """The members of a front.

    Attributes:
        split: The split on which they are better than others, and on which one is chosen.
        tasks: The names of the objectives.
        members: The members, none of which another one beats in all tasks.
        measures: What the scores of each task are.
    """

    split: str
    tasks: tuple[str, ...]
    members: tuple[Member, ...]
    measures: tuple[Measure, ...]

    def save(self, directory: Path) -> None:
        """Write the front beside the recipes."""
        scales = {
            task: {"measure": one.name, "unit": one.unit}
            for task, one in zip(self.tasks, self.measures, strict=True)
        }
        text = json.dumps(
            dataclasses.asdict(self) | {"measures": scales}, indent=1, ensure_ascii=False
        )
        (directory / FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> "Front":
        """Read the front that `save` wrote.

        Raises:
            ValueError: The directory has no front, or it is damaged.
        """
        path = directory / FILE
        if not path.is_file():
            raise ValueError(
                f"{directory}: has no {FILE}; a run has a front when its strategy keeps one, e.g. "
                "strategy=nsga2 with several fitness tasks"
            )
        try:
            written = load_object(read_text(path))
        except DocumentError as error:
            raise ValueError(f"{path}: {error}") from None
        found = schema.read(_FrontText, written, str(path))
        for member in found.members:
            if lacking := set(found.tasks) - member.scores.get(found.split, {}).keys():
                names = ", ".join(sorted(map(named, lacking)))
                raise ValueError(f"{path}: {named(member.recipe)} has no score of {names}")
        if lacking := set(found.tasks) - found.measures.keys():
            raise ValueError(f"{path}: measures lacks {', '.join(sorted(map(named, lacking)))}")
        members = tuple(Member(member.recipe, member.scores) for member in found.members)
        scales = [found.measures[task] for task in found.tasks]
        measures = tuple(Measure(scale.measure, scale.unit) for scale in scales)
        return cls(found.split, tuple(found.tasks), members, measures)

    def scores(self, split: str | None = None) -> Float[np.ndarray, "members tasks"]:
        """The means of the tasks, on the split by which members are chosen if none is named."""
        rows = [member.scores[split or self.split] for member in self.members]
        return np.array([[row[task] for task in self.tasks] for row in rows], np.float64)

    def select(self, choice: str) -> int:
        """The index of the member that a choice names.

        Args:
            choice: An index from 0; ``knee``, the member nearest to the best of every task where
                each task's range over the front counts as 1; or weights, ``math=0.7,japanese=0.3``,
                for the member with the largest weighted sum of scores.

        Raises:
            ValueError: The choice names no member.
        """
        if choice.isascii() and choice.isdecimal():
            if int(choice) >= len(self.members):
                raise ValueError(
                    f"--select {choice}: the front has members 0 to {len(self.members) - 1}"
                )
            return int(choice)
        scores = self.scores()
        if choice == KNEE:
            return knee(scores)
        return int(np.argmax(scores @ self._weights(choice)))

    def _weights(self, choice: str) -> Float[np.ndarray, " tasks"]:
        weights = dict.fromkeys(self.tasks, 0.0)
        for part in choice.split(","):
            name, _, number = part.partition("=")
            if name.strip() not in weights:
                hint = nearest(name.strip(), [*self.tasks, KNEE])
                raise ValueError(
                    f"--select {choice}: give an index, {KNEE}, or weights as {self.tasks[0]}=1; "
                    f"there is no task {name.strip()!r}{hint} (tasks: {', '.join(self.tasks)})"
                )
            try:
                weights[name.strip()] = float(number)
            except ValueError:
                weights[name.strip()] = float("nan")
            if not np.isfinite(weights[name.strip()]):
                raise ValueError(
                    f"--select {choice}: the weight of {name.strip()} is no finite number: "
                    f"{number!r}"
                )
        return np.array(list(weights.values()))


class _MemberText(schema.Document):
    recipe: str
    scores: dict[str, dict[str, Annotated[float, schema.number()]]]


class _MeasureText(schema.Document):
    """What the scores of a task are, as it is written."""

    measure: str
    unit: str


class _FrontText(schema.Document):
    """A front as it is written."""

    split: str
    tasks: Annotated[list[str], schema.length(1)]
    measures: dict[str, _MeasureText]
    members: Annotated[list[_MemberText], schema.length(1)]


def knee(scores: Float[np.ndarray, "members tasks"]) -> int:
    """The index of the member nearest to the best of every task, in units of each task's range."""
    low, high = scores.min(axis=0), scores.max(axis=0)
    lost = (high - scores) / np.where(high > low, high - low, 1.0)
    return int(np.argmin(np.square(lost).sum(axis=1)))


def hypervolumes(
    history: Iterable[Mapping[str, Any]], search: str
) -> tuple[list[float], list[float]]:
    """The hypervolume of all that a search had found by each generation, and the reference point.

    The reference point is the worst of each task in the whole search, so that the numbers of one
    search can be compared with one another only.
    """
    generations: dict[int, list[list[float]]] = {}
    for row in history:
        scores = row.get("objectives")
        if row["search"] == search and scores and None not in scores:
            generations.setdefault(row["generation"], []).append(scores)
    if not generations:
        return [], []
    reference = np.min([one for scores in generations.values() for one in scores], axis=0)
    front = np.empty((0, len(reference)))
    volumes = []
    for number in sorted(generations):
        front = np.concatenate([front, generations[number]])
        front = front[non_dominated(front)]
        volumes.append(float(hypervolume(front, reference)))
    return volumes, [float(one) for one in reference]


def plot_front(
    front: Front,
    history: Sequence[Mapping[str, Any]],
    search: str,
    path: Path,
    others: Sequence[Result] = (),
) -> None:
    """Draw candidates and the front in the first two tasks, and each generation's hypervolume.

    Args:
        front: The front.
        history: The rows that `evojax_merge.search.history.read_history` gives.
        search: The name of the search.
        path: The PNG that is written.
        others: The results of other methods on one split, a point each.
    """
    figure = blank_figure(15, 5.4)
    places, progress = figure.subplots(1, 2)
    own = [row["objectives"] for row in history if row["search"] == search and "objectives" in row]
    seen = np.array(own, np.float64)
    units = np.array([measure.factor for measure in front.measures])
    scores = front.scores() * units
    order = np.argsort(scores[:, 0])
    if len(seen):
        seen = seen * units
        places.scatter(seen[:, 0], seen[:, 1], s=16, color=PALE, label="candidates, search split")
    label = f"front, {front.split} split"
    places.plot(scores[order, 0], scores[order, 1], "o-", color=colour(0), lw=2.5, label=label)
    chosen = scores[knee(scores)]
    places.plot(chosen[0], chosen[1], "*", color=colour(1), ms=20, label=KNEE)
    for number, one in enumerate(others):
        at = [unit * one.tasks[task].score for unit, task in zip(units, front.tasks, strict=True)]
        mark, name = _MARKS[number % len(_MARKS)], f"{one.name}, {one.split} split"
        places.plot(at[0], at[1], mark, color=colour(number + 2), ms=11, label=name)
    heads = [
        textwrap.fill(f"{task}: {measure.head}", 40)
        for task, measure in zip(front.tasks, front.measures, strict=True)
    ]
    places.set_xlabel(heads[0])
    places.set_ylabel(heads[1])
    volumes, _ = hypervolumes(history, search)
    dot = "o" if len(volumes) == 1 else None
    progress.plot(range(1, len(volumes) + 1), volumes, color=colour(0), lw=3, marker=dot)
    whole_numbers(progress)
    progress.set_xlabel("generation")
    progress.set_ylabel("hypervolume above the worst\nof each task, search split")
    for axes in (places, progress):
        axes.grid(alpha=0.3)
    legend_beside(places)
    save_figure(figure, path)
