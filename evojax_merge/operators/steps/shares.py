"""Averages that evidence shapes, by weights of which only the proportions count."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from evojax_merge.operators.base import TINY, WEIGHT, Coefficients, Operator, divisor, float32
from evojax_merge.operators.evidence import EvidenceRequest
from evojax_merge.params.types import Array, Float

SHARE = WEIGHT._replace(
    domain=(0.0, float("inf")),
    description="share of a source, relative to those of the others",
)


def shares(coefficients: Coefficients) -> Float[Array, " sources *layers"]:
    """The weights of the sources over their sum, or equal ones where that is below 1e-8."""
    weights = jnp.maximum(coefficients["weight"], 0.0)
    total = weights.sum(axis=0, keepdims=True)
    scaled = weights / divisor(total)
    return jnp.where(total >= TINY, scaled, 1.0 / weights.shape[0])


def from_first(sources: Sequence[Any]) -> tuple[Float[Array, "..."], list[Float[Array, "..."]]]:
    """The first source, and what each other one adds to it.

    An average of such differences gives equal sources back to the bit.
    """
    first = float32(sources[0])
    return first, [float32(source) - first for source in sources[1:]]


def average(
    name: str,
    init: Callable[..., Any],
    merge: Callable[..., Array],
    evidence: EvidenceRequest,
) -> Operator:
    """Make the operator of an average by `shares` and evidence, of any number of sources."""
    return Operator(
        name=name,
        coefficients=(SHARE,),
        init=init,
        merge=merge,
        needs_base=False,
        sources=(1, None),
        evidence=evidence,
    )
