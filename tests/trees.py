"""Trees that tests make by hand: what stands under ``layers`` is stacked."""

from collections.abc import Mapping
from typing import Any

from evojax_merge import operators
from evojax_merge.operators import Operator
from evojax_merge.params.tree import flatten, unflatten


def stacked_in(tree: Mapping[str, Any]) -> frozenset[str]:
    """The paths of the leaves whose first axis counts layers."""
    return frozenset(path for path in flatten(tree) if path.startswith("layers."))


def axes_of(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The axis of a population in each leaf."""
    stacked = stacked_in(tree)
    return unflatten({path: int(path in stacked) for path in flatten(tree)})


def init_statistics(
    operator: Operator, base: Any, sources: Any, *further: Any, **named: Any
) -> Any:
    """That of the package, for trees whose ``layers`` are stacked."""
    stacked = stacked_in(sources[0])
    return operators.init_statistics(operator, base, sources, *further, **named, stacked=stacked)


def merge(operator: Operator, base: Any, sources: Any, *further: Any, **named: Any) -> Any:
    """That of the package, for trees whose ``layers`` are stacked."""
    stacked = stacked_in(sources[0])
    return operators.merge(operator, base, sources, *further, **named, stacked=stacked)
