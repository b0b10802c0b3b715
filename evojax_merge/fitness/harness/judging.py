"""Answers given back to the harness, whose filters and metrics judge them."""

import contextlib
import copy
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from evojax_merge.fitness.harness.loading import quiet
from evojax_merge.fitness.harness.metrics import ItemMetric

_OF_A_DOCUMENT = ("doc_to_choice", "doc_to_target", "doc_to_text")
"""Methods that render templates, which takes longer than judging, and give the same each time."""


class Judge:
    """The filters and metrics of a task of the harness.

    Args:
        task: The task of the harness.
        metric: The metric that items are measured by.
        requests: The instances of each item.
    """

    def __init__(self, task: Any, metric: ItemMetric, requests: Sequence[Sequence[Any]]) -> None:
        self.name: str = task.task_name
        self.requests = requests
        self._metric, self._mean_weight = metric, 1.0
        self._task = copy.copy(task)
        for name in _OF_A_DOCUMENT:
            if hasattr(task, name):
                setattr(self._task, name, _remembering(getattr(task, name)))
        if metric.weighted:
            weights = [found[metric.name][1] for found in self._results(self._nothing(), [metric])]
            self._mean_weight = float(np.mean(weights))

    def values(self, answered: Iterable[tuple[int, Sequence[Any]]]) -> list[float]:
        """The numbers of items that were answered.

        Args:
            answered: Items, by their places, each with the responses to its requests.

        Raises:
            ValueError: The metric gives no number.
        """
        found = self._results(answered, [self._metric])
        return [self._value(results) for results in found]

    def record(self, item: int, responses: Sequence[Any]) -> dict[str, Any]:
        """What was asked of an item, what was answered, and all that the harness says of it."""
        instances = self._answered(item, responses)
        metrics: dict[str, Any] = {}
        filtered: dict[str, Any] = {}
        for one in self._filters():
            one.apply(instances)
            filtered[one.name] = [plain(i.filtered_resps[one.name]) for i in instances]
            judged = self._judged(instances, one.name)
            metrics |= {f"{name},{one.name}": plain(value) for name, value in judged.items()}
        chosen = self._judged(instances, self._metric.filter)
        return {
            "task": self.name,
            "document": instances[0].doc_id,
            "requests": [plain(instance.args) for instance in instances],
            "responses": [plain(response) for response in responses],
            "filtered": filtered,
            "metrics": metrics,
            "value": self._value(chosen),
        }

    def check(self, responses: Sequence[Any]) -> None:
        """Raise ValueError if the first item cannot be judged by some responses."""
        self.values([(0, responses)])

    def _nothing(self) -> list[tuple[int, list[Any]]]:
        """Responses of which the harness still tells the weights of the items."""
        return [(item, [0.0] * len(own)) for item, own in enumerate(self.requests)]

    def _filters(self) -> list[Any]:
        return list(self._task._filters)

    def _results(
        self, answered: Iterable[tuple[int, Sequence[Any]]], metrics: Sequence[ItemMetric]
    ) -> list[dict[str, Any]]:
        groups = [self._answered(item, responses) for item, responses in answered]
        flat = [instance for group in groups for instance in group]
        for one in self._filters():
            if any(metric.filter == one.name for metric in metrics):
                with self._in_words():
                    one.apply(flat)
        return [self._judged(group, self._metric.filter) for group in groups]

    def _answered(self, item: int, responses: Sequence[Any]) -> list[Any]:
        """New instances of an item with responses, the same each time that they are asked for."""
        instances = []
        for asked, response in zip(self.requests[item], responses, strict=True):
            instance = copy.copy(asked)
            instance.resps = [response] * (asked.repeats or 1)
            instance.filtered_resps = {}
            instances.append(instance)
        return instances

    def _judged(self, instances: Sequence[Any], name: str) -> dict[str, Any]:
        with self._in_words(), quiet(), contextlib.redirect_stderr(io.StringIO()):
            found: dict[str, Any] = self._task.process_results(
                instances[0].doc, [instance.filtered_resps[name] for instance in instances]
            )
        return found

    def _value(self, results: dict[str, Any]) -> float:
        if self._metric.name not in results:
            raise ValueError(
                f"{self.name}: the metric {self._metric.name} is not given for every item (given: "
                f"{', '.join(map(str, results))}); choose another with fitness.metric"
            )
        try:
            return self._metric.value(results[self._metric.name], self._mean_weight)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None

    @contextlib.contextmanager
    def _in_words(self) -> Any:
        """A block in which whatever a task's own code raises becomes one line."""
        try:
            yield
        except Exception as error:
            first = (str(error).strip() or "no reason given").splitlines()[0]
            raise ValueError(
                f"{self.name}: lm-eval cannot judge an answer ({type(error).__name__}: {first})"
            ) from error


class Item(NamedTuple):
    """An item of a split.

    Attributes:
        judge: What judges its answers.
        place: Its place among the items of that judge.
    """

    judge: Judge
    place: int

    @property
    def requests(self) -> Sequence[Any]:
        """The harness's instances."""
        return self.judge.requests[self.place]


def judged(items: Sequence[Item], answered: Sequence[Sequence[Any]]) -> list[float]:
    """The numbers of items, of which those of one judge are judged together."""
    values = [0.0] * len(items)
    judges = {id(item.judge): item.judge for item in items}
    for key, judge in judges.items():
        places = [n for n, item in enumerate(items) if id(item.judge) == key]
        found = judge.values([(items[n].place, answered[n]) for n in places])
        for place, value in zip(places, found, strict=True):
            values[place] = value
    return values


def plain(value: Any) -> Any:
    """The same value in types of JSON, where it has NumPy's."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def _remembering(method: Callable[..., Any]) -> Callable[..., Any]:
    """The same method, which renders each document once. Lists that it gives are new ones."""
    known: dict[int, tuple[Any, Any]] = {}

    def of(document: Any, *others: Any) -> Any:
        if others:
            return method(document, *others)
        if id(document) not in known:  # the document is kept, so that no other gets its id
            known[id(document)] = (document, method(document))
        return copy.copy(known[id(document)][1])

    return of
