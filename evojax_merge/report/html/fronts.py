"""The front of a run as pictures whose members can be chosen, and as a table."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from evojax_merge.params.types import Float
from evojax_merge.report.front import Front, knee
from evojax_merge.report.html.charts import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, Scale
from evojax_merge.report.results import Result, interval_text

_SIDE = 60
"""The room beside the first and the last of parallel axes, for their labels."""

_NAME = 100
"""The width that the name of a method takes."""

_MOST = 4_000
"""How many candidates are drawn."""


class Place(NamedTuple):
    """A method or a member of the front in a picture.

    Attributes:
        name: What it is called.
        points: Its point; or its points on parallel axes, as SVG has them.
        x: The first of them, across.
        y: The first of them, down.
    """

    name: str
    points: str
    x: float
    y: float


class Named(NamedTuple):
    """A method in a picture of two axes.

    Attributes:
        place: Its place.
        down: How far below the middle of its mark its name stands.
        is_left: Whether its name stands at the left of its mark.
    """

    place: Place
    down: float
    is_left: bool


class Axis(NamedTuple):
    """An axis of a picture.

    Attributes:
        label: What is measured along it.
        scale: Its scale.
        at: Where it stands, where axes are parallel.
    """

    label: str
    scale: Scale
    at: float


@dataclasses.dataclass(frozen=True)
class View:
    """The front on the items of a split.

    Attributes:
        split: The split.
        axes: The axes: two that cross, or more that are parallel.
        candidates: All candidates as a path of dots.
        members: The places of the members, in order.
        methods: Those of the methods that were measured on the same items.
    """

    split: str
    axes: Sequence[Axis]
    candidates: str
    members: Sequence[Place]
    methods: Sequence[Place]
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def named(self) -> list[Named]:
        """The methods with places for their names, on none of which another one stands."""
        taken: list[tuple[float, float]] = []
        found = []
        for one in self.methods:
            is_left = one.x > self.width * 0.7
            text = one.x - _NAME if is_left else one.x
            for down in (0.0, 13.0, -13.0, 26.0, -26.0, 39.0, -39.0):
                at = (text, one.y + down)
                if not any(abs(x - text) < _NAME and abs(y - at[1]) < 12 for x, y in taken):
                    break
            taken.append(at)
            found.append(Named(one, down + 4, is_left))
        return found

    @property
    def crossed(self) -> bool:
        """Whether there are two axes, which cross."""
        return len(self.axes) == 2


class Row(NamedTuple):
    """A member of the front in a table.

    Attributes:
        number: Its number, from 0.
        is_knee: Whether it is the one in the middle.
        scores: Its scores by task and split.
        intervals: The 95 % intervals of those on the compared split, by task.
    """

    number: int
    is_knee: bool
    scores: Mapping[str, Mapping[str, str]]
    intervals: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class FrontView:
    """A front.

    Attributes:
        split: The split by which members were chosen.
        tasks: The tasks, and what their scores are.
        splits: The splits that members were measured on.
        views: A picture for each.
        rows: The members.
        knee: The number of the member in the middle.
    """

    split: str
    tasks: Mapping[str, str]
    splits: Sequence[str]
    views: Sequence[View]
    rows: Sequence[Row]
    knee: int


def front_view(
    front: Front, history: Sequence[Mapping[str, Any]], results: Sequence[Result]
) -> FrontView:
    """What a report shows of a front.

    Args:
        front: The front.
        history: The rows of the search that found it.
        results: All results of the run.
    """
    splits = [
        split
        for split in dict.fromkeys([front.split, "test", "validation", "search"])
        if all(split in member.scores for member in front.members)
    ]
    own = {result.name: result for result in results if result.name.startswith("front ")}
    middle = knee(front.scores())
    rows = [
        Row(
            index,
            index == middle,
            {
                task: {s: measure.text(member.scores[s][task]) for s in splits}
                for task, measure in zip(front.tasks, front.measures, strict=True)
            },
            _intervals(own.get(f"front {index}"), front.tasks),
        )
        for index, member in enumerate(front.members)
    ]
    heads = {task: measure.head for task, measure in zip(front.tasks, front.measures, strict=True)}
    views = [_view(front, split, history, results) for split in splits]
    return FrontView(front.split, heads, splits, views, rows, middle)


def _intervals(result: Result | None, tasks: Sequence[str]) -> dict[str, str]:
    if result is None:
        return {}
    return {
        task: interval_text(result.tasks[task])
        for task in tasks
        if task in result.tasks and interval_text(result.tasks[task])
    }


def _view(
    front: Front, split: str, history: Sequence[Mapping[str, Any]], results: Sequence[Result]
) -> View:
    units = np.array([measure.factor for measure in front.measures])
    members = front.scores(split) * units
    methods = {
        result.name: units * [result.tasks[task].score for task in front.tasks]
        for result in results
        if result.split == split
        and not result.name.startswith("front ")
        and all(task in result.tasks for task in front.tasks)
    }
    methods = {name: one for name, one in methods.items() if np.isfinite(one).all()}
    seen = np.empty((0, len(front.tasks)))
    if split == "search":
        seen = _candidates(history, len(front.tasks)) * units
    every = np.concatenate([members, seen, *(one[None] for one in methods.values())])
    labels = [
        f"{task}: {measure.head}" for task, measure in zip(front.tasks, front.measures, strict=True)
    ]
    if len(labels) == 2:
        across = Scale.over(every[:, 0], LEFT, WIDTH - 16)
        up = Scale.over(every[:, 1], HEIGHT - BOTTOM, TOP)
        axes = [Axis(labels[0], across, 0.0), Axis(labels[1], up, 0.0)]
        dots = "".join(f"M{across(x):g} {up(y):g}h0" for x, y in seen)
        return View(
            split,
            axes,
            dots,
            [_point(str(number), across, up, one) for number, one in enumerate(members)],
            [_point(name, across, up, one) for name, one in methods.items()],
        )
    height = HEIGHT - 10
    steps = np.linspace(_SIDE, WIDTH - _SIDE, len(labels))
    shown = np.concatenate([members, *(one[None] for one in methods.values())])
    axes = [
        Axis(label, Scale.over(shown[:, place], height - 14, 2 * TOP), round(float(at), 1))
        for place, (label, at) in enumerate(zip(labels, steps, strict=True))
    ]
    lines = [_line(str(number), axes, one) for number, one in enumerate(members)]
    others = [_line(name, axes, one) for name, one in methods.items()]
    return View(split, axes, "", lines, others, height=height)


def _candidates(
    history: Sequence[Mapping[str, Any]], tasks: int
) -> Float[np.ndarray, "candidates tasks"]:
    rows = [
        row["objectives"]
        for row in history
        if len(row.get("objectives") or ()) == tasks and None not in row["objectives"]
    ]
    step = -(-len(rows) // _MOST) or 1
    return np.array(rows[::step], np.float64).reshape(-1, tasks)


def _point(name: str, across: Scale, up: Scale, one: Float[np.ndarray, " tasks"]) -> Place:
    x, y = across(one[0]), up(one[1])
    return Place(name, f"{x:g},{y:g}", x, y)


def _line(name: str, axes: Sequence[Axis], one: Float[np.ndarray, " tasks"]) -> Place:
    places = [(axis.at, axis.scale(value)) for axis, value in zip(axes, one, strict=True)]
    return Place(name, " ".join(f"{x:g},{y:g}" for x, y in places), *places[0])
