"""Angles and means on the unit sphere, from 1 - cos of each pair of directions.

With directions u_i and E_ij = 1 - u_i . u_j, a point m = sum of c_i u_i of unit length has
u_j . m = 1 - ((E c)_j - q / (1 + sqrt(1 + q))), where q = c' E c. All of it is in terms of small
numbers, so that angles of nearly parallel directions keep their digits in float32.
"""

from typing import Any

import jax.numpy as jnp

from evojax_merge.operators.steps.span import dot
from evojax_merge.params.types import Array, Float

SMALL_ANGLE = 1e-4
"""Below this, x / sin(x) is 1 to float32."""


def angle(apart: Float[Array, "..."]) -> Float[Array, "..."]:
    """The angle between two directions, in [0, pi], from 1 - cos."""
    half = jnp.clip(0.5 * apart, 0.0, 1.0)
    # The root's slope is infinite at 0: there the angle is taken as constant.
    safe = jnp.where(half > 0, half, 1.0)
    capped = jnp.where(safe < 1, safe, 0.25)
    inner = 2.0 * jnp.arcsin(jnp.sqrt(capped))
    return jnp.where(half > 0, jnp.where(half < 1, inner, jnp.pi), 0.0)


def over_sine(theta: Float[Array, "..."]) -> Float[Array, "..."]:
    """theta / sin(theta), which is 1 at 0."""
    flat = jnp.abs(theta) < SMALL_ANGLE
    safe = jnp.where(flat, 1.0, theta)
    return jnp.where(flat, 1.0, safe / jnp.sin(safe))


def arc(
    apart: Float[Array, "..."], t: Float[Array, "..."], flat: float
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The factors by which slerp multiplies two vectors; shapes are broadcast.

    Args:
        apart: 1 - cos of the angle between them.
        t: The place between the vectors: 0 is the first, 1 the second.
        flat: Slerp is linear where 1 - abs(cos) is not above this. It is so too where float32 knows
            of no plane that the two span, at an angle of exactly 0 or pi.
    """
    linear = (apart <= flat) | (apart >= 2.0 - flat)
    theta = angle(jnp.where(linear, 1.0, apart))
    sine = jnp.sin(theta)
    first = jnp.where(linear, 1.0 - t, jnp.sin((1.0 - t) * theta) / sine)
    second = jnp.where(linear, t, jnp.sin(t * theta) / sine)
    return first, second


def unit(c: Any, apart: Any, smallest: float = 0.0) -> tuple[Any, Any]:
    """Scale a combination of directions to unit length, and give the length it had, ``[1, ...]``.

    Args:
        c: The factor of each direction, ``[sources, *vectors]``.
        apart: 1 - cos of each pair of directions, ``[sources, sources, *vectors]``.
        smallest: A shorter combination is left as it is.
    """
    square = over_sources(c) ** 2 - quadratic(c, apart)
    usable = square > smallest**2
    length = jnp.sqrt(jnp.where(usable, square, 1.0))
    return c / length, jnp.where(usable, length, 0.0)


def over_sources(c: Any) -> Any:
    """The sum over sources, ``[1, *vectors]``."""
    return jnp.sum(c, axis=0, keepdims=True)


def quadratic(c: Any, apart: Any) -> Any:
    """The quadratic form c' E c, ``[1, *vectors]``."""
    return over_sources(c * dot(apart, c))


def apart_from(c: Any, apart: Any) -> Any:
    """1 - cos between each direction and the unit combination ``c``, ``[sources, *vectors]``."""
    moved = dot(apart, c)
    q = over_sources(c * moved)
    return moved - q / (1.0 + jnp.sqrt(jnp.maximum(1.0 + q, 0.0)))
