"""Spaces: what a genotype means."""

from typing import Any

from evojax_merge.spaces.dataflow import DataflowSpace
from evojax_merge.spaces.joint import HybridSpace, Joint, JointSpace
from evojax_merge.spaces.parameter import ParameterSpace
from evojax_merge.spaces.weights import WeightsSpace

__all__ = [
    "DataflowSpace",
    "HybridSpace",
    "Joint",
    "JointSpace",
    "ParameterSpace",
    "WeightsSpace",
    "kind_of",
]


def kind_of(space: Any) -> str:
    """The kind of a space: ``parameter``, ``dataflow``, ``hybrid``, ``joint`` or ``weights``.

    Args:
        space: The space, or a partial that makes it.
    """
    return getattr(getattr(space, "func", space), "kind", ParameterSpace.kind)
