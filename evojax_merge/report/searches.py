"""What the searches of a run are and by what they go, kept for reports from their start on."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evojax_merge.documents.files import read_text, write_text
from evojax_merge.documents.json_text import load_object
from evojax_merge.fitness.base import Measure, Task
from evojax_merge.fitness.several import SeveralTasks

FILE = "searches.json"


@dataclasses.dataclass(frozen=True)
class Search:
    """A search of a run.

    Attributes:
        space: What is searched, in words.
        genes: How many genes a genotype has.
        strategy: The name of the strategy.
        population: How many candidates a generation has.
        evaluations: How many candidates are evaluated.
        measure: What the search goes by.
    """

    space: str
    genes: int
    strategy: str
    population: int
    evaluations: int
    measure: Measure


@dataclasses.dataclass(frozen=True)
class Searches:
    """The searches of a run, and what they measure.

    Attributes:
        task: What results tables call what is measured.
        measure: What the results of its items are.
        tasks: What those of each of several tasks are.
        weights: The weight of each of several tasks in the fitness.
        items: How many items each split has, by task; of a single task, by ``""``.
        searches: The searches by the names that the history and results use.
    """

    task: str
    measure: Measure
    tasks: Mapping[str, Measure]
    weights: Mapping[str, float]
    items: Mapping[str, Mapping[str, int]]
    searches: Mapping[str, Search]

    @classmethod
    def of(cls, task: Task, searches: Mapping[str, Search]) -> "Searches":
        """The searches of a run that measures a task."""
        parts: Mapping[str, Task] = task.tasks if isinstance(task, SeveralTasks) else {}
        items = {}
        for split in task.splits:
            if split != "train":
                on = task.on(split)
                own = on.tasks if isinstance(on, SeveralTasks) else {"": on}
                items[split] = {name: len(part) for name, part in own.items()}
        weigh = task.weight if isinstance(task, SeveralTasks) else lambda name: 1.0
        weights = {name: weigh(name) for name in parts}
        measures = {name: part.measure for name, part in parts.items()}
        return cls(task.name, task.measure, measures, weights, items, searches)

    def save(self, directory: Path) -> None:
        """Write the searches into the directory of a run."""
        tree = dataclasses.asdict(self) | {
            "measure": self.measure._asdict(),
            "tasks": {name: one._asdict() for name, one in self.tasks.items()},
            "searches": {
                name: dataclasses.asdict(one) | {"measure": one.measure._asdict()}
                for name, one in self.searches.items()
            },
        }
        text = json.dumps(tree, indent=1)
        file = directory / FILE
        write_text(file, text + "\n")

    @classmethod
    def load(cls, directory: Path) -> "Searches | None":
        """Read what `save` wrote; None if there is none.

        Raises:
            ValueError: The file is damaged.
        """
        file = directory / FILE
        if not file.is_file():
            return None
        try:
            tree = load_object(read_text(file))
            return cls(
                str(tree["task"]),
                _measure(tree["measure"]),
                {str(name): _measure(one) for name, one in tree["tasks"].items()},
                {str(name): float(one) for name, one in tree["weights"].items()},
                {
                    str(split): {str(name): int(count) for name, count in counts.items()}
                    for split, counts in tree["items"].items()
                },
                {str(name): _search(one) for name, one in tree["searches"].items()},
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file}: holds no searches as this version writes them") from error


def _search(tree: Mapping[str, Any]) -> Search:
    numbers = {key: int(tree[key]) for key in ("genes", "population", "evaluations")}
    return Search(
        space=str(tree["space"]),
        strategy=str(tree["strategy"]),
        measure=_measure(tree["measure"]),
        **numbers,
    )


def _measure(tree: Mapping[str, Any]) -> Measure:
    return Measure(str(tree["name"]), str(tree["unit"]), bool(tree["sampled"]))
