"""Spaces: what a genotype means."""

from typing import Any

from evojax_merge.spaces.dataflow import DataflowSpace
from evojax_merge.spaces.joint import HybridSpace, Joint, JointSpace
from evojax_merge.spaces.parameter import ParameterSpace

__all__ = ["DataflowSpace", "HybridSpace", "Joint", "JointSpace", "ParameterSpace", "kind_of"]


def kind_of(space: Any) -> str:
    """What a configured space is: ``parameter``, ``dataflow``, ``hybrid`` or ``joint``.

    Args:
        space: The space, or a partial that makes it.
    """
    return getattr(getattr(space, "func", space), "kind", ParameterSpace.kind)
