"""Candidates: how what a merge makes is laid out on a device, and becomes parameters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from evojax_merge.models import Layout
from evojax_merge.params.types import Genotype, Params

MergeFn = Callable[[Any, Genotype], Any]
"""A function from what is merged, e.g. base, sources and statistics, and a genotype to what makes
up one candidate."""


class Candidates(NamedTuple):
    """How the parameters that a program runs on are put together.

    Attributes:
        axes: The axes of the population in what ``merge_fn`` gives.
        params: The function from the candidates of a device and what they share to the parameters.
        param_axes: The axes of the population in those parameters.
        form: The function that lays out what ``merge_fn`` gives as the candidates are held.
        hops: The greatest length of a path, where candidates are paths.
        copied: The bytes that ``params`` makes for each candidate.
        is_valid: The function that says of genotypes ``[pop, dims]`` whether each can be run. One
            that cannot be run has the result nan on every item.
    """

    axes: Any
    params: Callable[[Any, Any], Params]
    param_axes: Any
    form: Callable[[Any], Any] = lambda candidate: candidate
    hops: int | None = None
    copied: int = 0
    is_valid: Callable[[np.ndarray], np.ndarray] = lambda genotypes: np.ones(len(genotypes), bool)


def whole_models(layout: Layout) -> Candidates:
    """The candidates of which each has all of its parameters for itself.

    The merge writes each layer that programs take in buffers of its own right there, so that no
    second model is held.
    """
    axes = layout.unrolled_axes()
    return Candidates(axes, lambda candidates, shared: candidates, axes, layout.unroll)
