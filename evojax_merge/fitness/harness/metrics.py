"""One number for each item, out of what the harness's metrics give."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.base import FRACTION, Measure

_FRACTIONS = ("acc", "em", "exact_match", "f1", "prompt_level")
"""How the names of metrics begin that lie between 0 and 1."""

_UNITS = {"word_perplexity": "nats per word", "byte_perplexity": "nats per byte"}


class ItemMetric(NamedTuple):
    """A metric of a task of the harness, as a number for each item whose mean is maximised.

    Attributes:
        name: What the harness calls the metric.
        filter: The filter of answers that it is taken after.
        kind: How the harness aggregates it: ``mean``, ``perplexity``, ``weighted_perplexity``,
            ``bits_per_byte`` or ``brier_score``.
        sign: 1 where the mean is to be large, −1 where it is to be small.
    """

    name: str
    filter: str
    kind: str
    sign: float

    @property
    def weighted(self) -> bool:
        """Whether the harness weights items, by their words or bytes."""
        return self.kind in ("weighted_perplexity", "bits_per_byte")

    @property
    def measure(self) -> Measure:
        """What the numbers are."""
        match self.kind:
            case "perplexity":
                return Measure("log-likelihood", "nats")
            case "weighted_perplexity":
                return Measure("log-likelihood", _UNITS.get(self.name, "nats per unit of weight"))
            case "bits_per_byte":
                return Measure("minus bits", "bits per byte")
            case "brier_score":
                return Measure("minus brier score", "squared error")
        unit = FRACTION if self.name.startswith(_FRACTIONS) and self.sign > 0 else "as in lm-eval"
        return Measure(self.name if self.sign > 0 else f"minus {self.name}", unit)

    def value(self, given: Any, mean_weight: float = 1.0) -> float:
        """The number of an item, whose mean over all items is, exactly, what the harness says.

        That is, for metrics of which a mean is taken, the mean, with its sign. For the perplexity
        it is minus its logarithm, for the weighted ones minus the logarithm too, and for bits per
        byte minus these.

        Args:
            given: What ``process_results`` gave for the metric.
            mean_weight: The mean weight of all items, where they are weighted.

        Raises:
            ValueError: There is no number of a single item.
        """
        try:
            if self.weighted:
                total = float(given[0]) / mean_weight
                return total / math.log(2) if self.kind == "bits_per_byte" else total
            if self.kind == "brier_score":
                gold, shares = given
                return -float(sum((p - (n == gold)) ** 2 for n, p in enumerate(shares)))
            return self.sign * float(given)
        except (TypeError, ValueError, LookupError):
            raise ValueError(
                f"the metric {self.name} gives {type(given).__name__} for an item, and no number; "
                "choose another with fitness.metric"
            ) from None


def choose(task: Any, wanted: str | None) -> ItemMetric:
    """The metric that a task is measured by.

    Args:
        task: The task of the harness.
        wanted: ``METRIC``, or ``METRIC,FILTER`` as the harness's tables have it. By default it is
            the first metric of the task, after its first filter.

    Raises:
        ValueError: There is no such metric or filter, or it is no mean over items.
    """
    aggregations: Mapping[str, Any] = task.aggregation()
    filters = [one.name for one in getattr(task, "_filters", ())] or ["none"]
    name, _, chosen = (wanted or next(iter(aggregations))).partition(",")
    chosen = chosen or filters[0]
    label = task.task_name
    if name not in aggregations:
        raise ValueError(
            f"{label}: no metric {name!r}; the task has {_listed(aggregations)}"
            f"{nearest(name, aggregations)}"
        )
    if chosen not in filters:
        raise ValueError(
            f"{label}: no filter {chosen!r}; the task has {_listed(filters)}"
            f"{nearest(chosen, filters)}"
        )
    kind = _kind(aggregations[name])
    if kind is None:
        others = [one for one, by in aggregations.items() if _kind(by) is not None]
        remedy = f"set fitness.metric to one of {_listed(others)}" if others else "use another task"
        raise ValueError(
            f"{label}: {name} is computed from all items at once, and a search compares results of "
            f"single items; {remedy}"
        )
    better = task.higher_is_better().get(name)
    return ItemMetric(name, chosen, kind, -1.0 if better is False and kind == "mean" else 1.0)


def _listed(names: Any) -> str:
    return ", ".join(map(str, names))


def _kind(aggregation: Any) -> str | None:
    from lm_eval.api import metrics

    kinds: Sequence[tuple[Any, str]] = (
        (metrics.mean, "mean"),
        (metrics.perplexity, "perplexity"),
        (metrics.weighted_perplexity, "weighted_perplexity"),
        (metrics.bits_per_byte, "bits_per_byte"),
        (metrics.brier_score, "brier_score"),
    )
    return next((kind for function, kind in kinds if aggregation is function), None)
