"""Trees that benchmarks make: what stands under ``layers`` is stacked."""

from evojax_merge.params.tree import flatten
from evojax_merge.params.types import Params


def stacked_in(params: Params) -> frozenset[str]:
    """The paths of the leaves whose first axis counts layers."""
    return frozenset(path for path in flatten(params) if path.startswith("layers."))
