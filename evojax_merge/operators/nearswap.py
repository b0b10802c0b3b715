"""NearSwap (Alchemonaut, 2024), https://huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001"""

import jax.numpy as jnp

from evojax_merge.operators.base import (
    Coefficient,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    Source,
    float32,
    no_statistics,
    spread,
    task_vectors,
)
from evojax_merge.params.types import Array, Float

SMALLEST = 1e-6
"""A smaller difference counts as this one (as in mergekit)."""

T = Coefficient(
    "t",
    0.0,
    0.01,
    0.001,
    per_source=False,
    description="difference up to which an element is the source's",
    domain=(0.0, float("inf")),
)


def nearswap() -> Operator:
    """base + min(1, t / |source - base|) x (source - base): the source where it is near.

    The coefficient is ``t``, in the units of the weights, which is usually in [0, 0.01] and starts
    at 0.001. An element moves by at most t.

    References:
        Alchemonaut, QuartetAnemoi-70B-t0.0001, 2024, as in mergekit 0.1.5.
    """

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: tuple[()],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        (difference,) = task_vectors(base, sources)
        t = spread(coefficients["t"], difference.ndim)
        share = jnp.clip(t / jnp.maximum(jnp.abs(difference), SMALLEST), 0.0, 1.0)
        return float32(base) + share * difference

    return Operator(
        name="nearswap",
        coefficients=(T,),
        init=no_statistics,
        merge=merge,
        needs_base=True,
        sources=(1, 1),
    )
