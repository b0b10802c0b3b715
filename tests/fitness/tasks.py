"""Tasks of a few items that need no model, to tell apart by what they measure."""

from typing import Any

from evojax_merge.fitness import ACCURACY, Measure, SeveralTasks

LOG_LIKELIHOOD = Measure("log-likelihood", "nats per token")
SIZE = Measure("minus size", "share of the skeleton's layers", sampled=False)


class Counted:
    """A task that knows what it measures, and how many items it has."""

    splits = ("search", "validation", "test")

    def __init__(self, items: int, measure: Measure = ACCURACY, split: str = "test") -> None:
        self.name, self.measure, self.current_split = measure.name, measure, split
        self._items = items

    def __len__(self) -> int:
        return self._items

    def on(self, split: str) -> "Counted":
        return Counted(self._items, self.measure, split)

    def bind(self, model: Any) -> Any:
        raise NotImplementedError


def several(
    weights: dict[str, float] | None = None, split: str = "test", **tasks: Counted
) -> SeveralTasks:
    """Such tasks together."""
    return SeveralTasks(tasks, weights, split)
