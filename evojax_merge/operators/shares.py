"""Weights of which only the proportions count, for averages that evidence shapes."""

import jax.numpy as jnp

from evojax_merge.operators.base import WEIGHT, Coefficients
from evojax_merge.types import Array, Float

SHARE = WEIGHT._replace(
    domain=(0.0, float("inf")),
    description="share of a source, relative to those of the others",
)


def shares(coefficients: Coefficients) -> Float[Array, "sources *layers"]:
    """The weights of the sources over their sum; equal ones where all are zero."""
    weights = jnp.maximum(coefficients["weight"], 0.0)
    total = weights.sum(axis=0, keepdims=True)
    scaled = weights / jnp.where(total > 0, total, 1.0)
    return jnp.where(total > 0, scaled, 1.0 / weights.shape[0])
