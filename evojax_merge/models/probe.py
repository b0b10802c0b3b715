"""Probes observe what the linear layers of a network read, and leave alone what they compute.

A probe is a parameter of the shape of a layer's input Gram matrix that takes no part in the
forward pass; its gradient, whatever is differentiated, is the sum of x xᵀ over the inputs x that
the layer read. A scan over layers stacks probes and their gradients as it does all parameters.
"""

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from evojax_merge.params.types import Array, Float


def observed(linear: Any, x: Float[Array, "*rows inputs"]) -> Float[Array, "*rows inputs"]:
    """Return ``x`` itself. A linear layer with a probe learns of it when differentiated."""
    return _observe(x, linear.probe[...], linear.rows[...]) if hasattr(linear, "probe") else x


def attach(model: nnx.Module, paths: Iterable[str]) -> nnx.Module:
    """Put a probe, and the weight of each row of its input, on some linear layers of a model."""
    for path in paths:
        linear: Any = functools.reduce(getattr, path.split("."), model)
        *layers, _, inputs = linear.weight[...].shape
        linear.probe = nnx.Param(jnp.zeros((*layers, inputs, inputs)))
        linear.rows = nnx.Param(jnp.zeros(layers))  # of any shape: it comes with the parameters
    return model


@jax.custom_vjp
def _observe(
    x: Float[Array, "*rows inputs"],
    probe: Float[Array, "inputs inputs"],
    rows: Float[Array, "..."],
) -> Float[Array, "*rows inputs"]:
    return x


def _forward(x: Array, probe: Array, rows: Array) -> tuple[Array, tuple[Array, Array]]:
    return x, (x, rows)


def _backward(read: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array, Array]:
    x, rows = read
    wide = x.astype(jnp.float32)
    # Where a row has no weight, it must not count even if it is not finite.
    wide = jnp.where(rows[..., None] != 0, wide, 0.0)
    gram = jnp.einsum(
        "...i,...j->ij", rows[..., None] * wide, wide, precision=jax.lax.Precision.HIGHEST
    )
    return cotangent, gram, jnp.zeros_like(rows)


_observe.defvjp(_forward, _backward)
