"""Several fitness tasks at once, each of which is one objective."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int, Shaped

from evojax_merge.documents.arguments import check_number
from evojax_merge.fitness.base import Batch, BoundTask, Measure, Task, check_task
from evojax_merge.fitness.beside import BesideTask, BoundBeside
from evojax_merge.models.request import Several


@dataclasses.dataclass
class SeveralTasks:
    """Tasks that one model is measured by, each an objective of the search.

    A strategy that optimises a single number is told the weighted sum of the tasks' means.

    Attributes:
        tasks: The tasks, by name.
        weights: The weight of each task in that sum; by default, equal weights that add up to 1.
        current_split: The split whose items are measured.
        name: What results tables call them together; by default their names.

    Raises:
        ValueError: There are fewer than two tasks, a weight belongs to no task, no weight is above
            0, or the tasks have no common search split.
    """

    tasks: Mapping[str, Task]
    weights: Mapping[str, float] | None = None
    current_split: str = "search"
    name: str = ""

    def __post_init__(self) -> None:
        if len(self.tasks) < 2:
            raise ValueError(
                f"fitness.tasks names {len(self.tasks)} task(s); give two or more, as "
                "'fitness=[generation,perplexity]'"
            )
        for name, task in self.tasks.items():
            check_task(task, f"fitness.tasks.{name}")
            if isinstance(task, SeveralTasks):
                raise ValueError(
                    f"fitness.tasks.{name} is several tasks itself; give one of its objectives, or "
                    "it alone"
                )
        known = ", ".join(self.tasks)
        share = dict.fromkeys(self.tasks, 1 / len(self.tasks))
        self.weights = share if self.weights is None else dict(self.weights)
        for name, weight in self.weights.items():
            if name not in self.tasks:
                raise ValueError(f"fitness.weights: there is no task {name!r} (tasks: {known})")
            check_number(f"fitness.weights.{name}", weight, 0)
        if not sum(self.weights.values()) > 0:
            raise ValueError("fitness.weights are all 0; at least one task must count")
        self.name = self.name or " + ".join(self.tasks)
        tasks = {name: task.on(self.current_split) for name, task in self.tasks.items()}
        self.tasks = {
            name: task.beside(tasks) if isinstance(task, BesideTask) else task
            for name, task in tasks.items()
        }

    @property
    def reported_split(self) -> str | None:
        """The split that some of the tasks say is to be reported, if any does."""
        named = (getattr(task, "reported_split", None) for task in self.tasks.values())
        return next((split for split in named if split is not None), None)

    @property
    def measure(self) -> Measure:
        """The weighted sum of the tasks' means, by which a search for a single number goes."""
        counted = {name: one.measure for name, one in self.tasks.items() if self.weight(name)}
        terms = [f"{self.weight(name):.3g} × {one.name} ({name})" for name, one in counted.items()]
        units = {one.unit for one in counted.values()}
        return Measure(
            " + ".join(terms),
            units.pop() if len(units) == 1 else "weighted sum",
            any(one.sampled for one in counted.values()),
        )

    @property
    def repeated(self) -> int:
        """How many items of the current split, over all tasks, are items of an earlier one too."""
        return sum(getattr(task, "repeated", 0) for task in self.tasks.values())

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that all tasks have data for."""
        first, *others = self.tasks.values()
        return tuple(s for s in first.splits if all(s in other.splits for other in others))

    def __len__(self) -> int:
        return sum(len(task) for task in self.tasks.values())

    def on(self, split: str) -> Self:
        """The same tasks on the items of another split.

        Raises:
            ValueError: A task has no data for that split.
        """
        return dataclasses.replace(self, current_split=split)

    def bind(self, model: Any) -> "BoundSeveral":
        """Make all tasks ready for models like this one.

        Raises:
            ValueError: The model cannot be measured by one of them.
        """
        alone = {
            id(task): task.bind(model)
            for task in self.tasks.values()
            if not isinstance(task, BesideTask)
        }
        bound: dict[str, tuple[BoundTask, float]] = {}
        for name, task in self.tasks.items():
            if isinstance(task, BesideTask):
                own: BoundTask = task.bound(alone[id(task.source)], model)
            else:
                own = alone[id(task)]
            bound[name] = own, self.weight(name)
        return BoundSeveral(bound)

    def weight(self, name: str) -> float:
        """The weight of a task's mean in the weighted sum."""
        assert self.weights is not None  # made whole in `__post_init__`
        return float(self.weights.get(name, 0.0))


class Part(NamedTuple):
    """The items of one of several tasks.

    Attributes:
        name: The name of the task.
        items: The places of its items among those of all tasks.
        weight: The weight of their mean in the fitness of a search for a single number.
    """

    name: str
    items: slice
    weight: float


@runtime_checkable
class Joinable(Protocol):
    """A bound task whose program may serve others, too, as where one picture has several scores."""

    def alike(self, other: Any) -> bool:
        """Whether another task can be served by the same program."""
        ...

    def joined(self, others: Sequence[Any]) -> Any:
        """A task whose program serves this one, and others that are alike."""
        ...

    def share(self, outputs: Sequence[Any]) -> Iterable[Sequence[Any]]:
        """The outputs of each of the tasks that it serves, as if it were alone, in order."""
        ...


class Run(NamedTuple):
    """A program that runs.

    Attributes:
        task: The task whose request and batches it has.
        names: The tasks that it serves.
    """

    task: BoundTask
    names: tuple[str, ...]

    def share(self, outputs: Sequence[Any]) -> Iterable[Sequence[Any]]:
        """The outputs of each of the tasks that it serves."""
        return self.task.share(outputs) if isinstance(self.task, Joinable) else (outputs,)


class BoundSeveral:
    """Bound tasks whose items follow one another.

    Attributes:
        tasks: The tasks by name.
        runs: The programs that run. Their batches and outputs follow one another. A task has a
            program for itself, unless one can serve several tasks, or the task looks at the answers
            of another one.
    """

    request = Several()

    def __init__(self, tasks: Mapping[str, tuple[BoundTask, float]]) -> None:
        self.tasks = {name: task for name, (task, _) in tasks.items()}
        self._weights = {name: weight for name, (_, weight) in tasks.items()}
        self.runs = _runs({n: one for n, one in self.tasks.items() if self._source(one) is None})

    @functools.cached_property
    def batches(self) -> tuple[Batch, ...]:
        """The batches of all programs."""
        return tuple(batch for run in self.runs for batch in run.task.batches)

    def __len__(self) -> int:
        return sum(len(task) for task in self.tasks.values())

    @property
    def parts(self) -> tuple[Part, ...]:
        """Which items belong to which task."""
        ends = np.cumsum([len(task) for task in self.tasks.values()]).tolist()
        return tuple(
            Part(name, slice(end - len(task), end), self._weights[name])
            for (name, task), end in zip(self.tasks.items(), ends, strict=True)
        )

    def score(
        self, outputs: Sequence[Shaped[np.ndarray, "pop ..."]]
    ) -> Float32[np.ndarray, "pop items"]:
        """The results of all tasks' items."""
        scores = [task.score(own) for task, own in self._share(outputs)]
        return np.concatenate(scores, axis=1)

    def details(
        self, outputs: Sequence[Shaped[np.ndarray, "pop ..."]], candidate: int = 0
    ) -> list[dict[str, Any]]:
        """The records of all tasks, each with the name of its task."""
        return [
            {"task": name, **record}
            for name, (task, own) in zip(self.tasks, self._share(outputs), strict=True)
            for record in task.details(own, candidate)
        ]

    def take(self, rows: Int[np.ndarray, " chosen"]) -> "BoundSeveral":
        """The same tasks on some of their items, each with at least one.

        Raises:
            ValueError: A task is left without items, or the rows are not in the order of the tasks.
        """
        if (np.diff(rows) <= 0).any():
            raise ValueError("items of several tasks are taken in their order, each once")
        own = {
            name: rows[(rows >= items.start) & (rows < items.stop)] - items.start
            for name, items, _ in self.parts
        }
        for name, places in own.items():
            if not len(places):
                raise ValueError(f"none of the chosen items belongs to the task {name!r}")
        taken = {
            name: task.take(own[name])
            for name, task in self.tasks.items()
            if not isinstance(task, BoundBeside)
        }
        for name, task in self.tasks.items():
            if isinstance(task, BoundBeside):
                source = self._source(task)
                same = source is not None and np.array_equal(own[name], own[source])
                taken[name] = (
                    task.beside(taken[source], own[name]) if same else task.take(own[name])
                )
        weights = self._weights
        return BoundSeveral({name: (taken[name], weights[name]) for name in self.tasks})

    def _source(self, task: BoundTask) -> str | None:
        """The name of the task whose answers a task measures, if it is among these."""
        if not isinstance(task, BoundBeside):
            return None
        return next((name for name, one in self.tasks.items() if one is task.source), None)

    def _share(self, outputs: Sequence[Any]) -> list[tuple[BoundTask, Sequence[Any]]]:
        """The tasks, in order, and the outputs of each."""
        found: dict[str, Sequence[Any]] = {}
        first = 0
        for run in self.runs:
            last = first + len(run.task.batches)
            found |= zip(run.names, run.share(outputs[first:last]), strict=True)
            first = last
        for name, task in self.tasks.items():
            if (source := self._source(task)) is not None:
                found[name] = found[source]
        return [(task, found[name]) for name, task in self.tasks.items()]


def _runs(tasks: Mapping[str, BoundTask]) -> tuple[Run, ...]:
    """The programs of some tasks."""
    groups: list[list[str]] = []
    for name, task in tasks.items():
        firsts = ((group, tasks[group[0]]) for group in groups)
        fitting = (group for group, one in firsts if isinstance(one, Joinable) and one.alike(task))
        group = next(fitting, None)
        if group is None:
            groups.append([name])
        else:
            group.append(name)
    return tuple(Run(_joined([tasks[name] for name in group]), tuple(group)) for group in groups)


def _joined(tasks: Sequence[BoundTask]) -> BoundTask:
    first, *others = tasks
    return first.joined(others) if others and isinstance(first, Joinable) else first


def tasks_of(bound: BoundTask) -> tuple[BoundTask, ...]:
    """The tasks whose programs run; of a single task, itself."""
    return tuple(run.task for run in bound.runs) if isinstance(bound, BoundSeveral) else (bound,)


def parts_of(bound: BoundTask) -> tuple[Part, ...]:
    """Which items belong to which of several tasks; empty for a single task."""
    return bound.parts if isinstance(bound, BoundSeveral) else ()


def weighted(bound: BoundTask) -> list[tuple[BoundTask, float]]:
    """The tasks that count in the fitness of a search for a single number, with their weights."""
    if not isinstance(bound, BoundSeveral):
        return [(bound, 1.0)]
    weights = [(bound.tasks[part.name], part.weight) for part in bound.parts]
    return [(task, weight) for task, weight in weights if weight > 0]
