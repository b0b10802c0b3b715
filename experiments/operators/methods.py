"""The operators that are compared, each with the values that its authors recommend untuned."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from evojax_merge.operators import FACTORIES, Operator, published

WIDEST = 1.5
"""The upper bound of a weight that evolves, where the operator's own is lower."""

AVERAGE = "average"
"""The one method that is not searched: its weights are equal."""


class Method(NamedTuple):
    """An operator and where it starts.

    Attributes:
        operator: The name of its factory.
        values: Its coefficients, for every source and leaf: untuned, and where a search starts.
        arguments: What the factory is given.
    """

    operator: str
    values: Mapping[str, float]
    arguments: Mapping[str, Any] = {}

    def genes(self) -> dict[str, dict[str, float]]:
        """The bounds and the start of each coefficient, as a space takes them."""
        return {
            one.name: {
                "lower": one.lower,
                "upper": max(one.upper, WIDEST) if one.name == "weight" else one.upper,
                "start": self.values[one.name],
            }
            for one in self.made().coefficients
        }

    def made(self) -> Operator:
        """The operator."""
        return FACTORIES[self.operator](**self.arguments)


def methods(sources: int) -> dict[str, Method]:
    """The methods by name, from the oldest to the newest.

    The plain average, task arithmetic and TIES have the values of
    `evojax_merge.operators.published`. DARE-TIES starts where Akiba et al. (2403.13187) start;
    Consensus TA, whose scale its authors choose on validation data, where this package starts. The
    others have the values of their papers: SVC an alpha of 1 / sources, LARV the weight of task
    arithmetic, AdaRank all directions, which is task arithmetic with the weight 0.3.

    Args:
        sources: The number of sources.
    """
    old = {name: dict(one.values) for name, one in published().items()}
    return {
        AVERAGE: Method("linear", old["average"], {"normalize": True}),
        "task_arithmetic": Method("task_arithmetic", {"weight": 0.4}),
        "ties": Method("ties", old["ties"]),
        "dare_ties": Method("dare_ties", {"weight": 0.5, "density": 0.5}),
        "consensus_ta": Method("consensus_ta", {"weight": 0.5, "threshold": 0.4}),
        "tsv_merge": Method("tsv_merge", {"weight": 1.0}),
        "iso_c": Method("iso_c", {"scale": 1.0}),
        "iso_cts": Method("iso_cts", {"scale": 1.0}),
        "wudi": Method("wudi", {"weight": 1.0}),
        "adarank": Method("adarank", {"weight": 0.3, "rank": 1.0, "skip": 0.0}),
        "svc": Method("svc", {"weight": 0.3, "alpha": 1 / sources}),
        "larv": Method("larv", {"weight": 0.4, "strength": 0.5}),
    }
