"""Spherical linear interpolation (Shoemake, 1985), https://doi.org/10.1145/325165.325242"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from evojax_merge.operators.base import (
    Coefficient,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    float32,
    spread,
)
from evojax_merge.operators.host import rows
from evojax_merge.types import Array, Bool, Float

SMALLEST_NORM = 1e-8
"""A shorter vector has no direction: it counts as orthogonal to every other."""

CHUNK = 2**16
"""Elements taken to float64 at once: few enough to stay in the cache."""

T = Coefficient(
    "t", 0.0, 1.0, 0.5, per_source=False, description="0 is the first source, 1 the second"
)


class Angle(NamedTuple):
    """Angle between the two sources of a leaf, and where it is too flat to divide by its sine."""

    theta: Float[Array, "*layers"]
    flat: Bool[Array, "*layers"]


def slerp(dot_threshold: float = 0.9995) -> Operator:
    """sin((1 - t) theta) / sin(theta) x first + sin(t theta) / sin(theta) x second.

    Theta is the angle between the two tensors, each taken as one vector (each layer of a stacked
    leaf by itself). It does not depend on t and is computed once.

    References:
        Shoemake, Animating rotation with quaternion curves, SIGGRAPH 1985. The fallback to linear
        interpolation follows mergekit.

    Args:
        dot_threshold: interpolate linearly where abs(cos theta) is above this.
    """

    def init(base: Leaf | None, sources: tuple[Leaf, ...], layered: bool) -> Angle:
        first, second = (rows(source, layered) for source in sources)
        cosines = np.array([_cosine(*pair) for pair in zip(first, second, strict=True)])
        flat = np.abs(cosines) > dot_threshold
        theta = np.arccos(np.where(flat, 0.0, cosines)).astype(np.float32)
        shape = (-1,) if layered else ()
        return Angle(jnp.asarray(theta.reshape(shape)), jnp.asarray(flat.reshape(shape)))

    def merge(
        base: Leaf | None,
        sources: tuple[Leaf, ...],
        coefficients: Coefficients,
        statistics: Angle,
        key: LeafKey,
    ) -> Float[Array, "..."]:
        theta, flat = statistics
        t = jnp.broadcast_to(coefficients["t"], theta.shape)
        sine = jnp.sin(theta)
        first = jnp.where(flat, 1.0 - t, jnp.sin((1.0 - t) * theta) / sine)
        second = jnp.where(flat, t, jnp.sin(t * theta) / sine)
        ndim = sources[0].ndim
        return spread(first, ndim) * float32(sources[0]) + spread(second, ndim) * float32(
            sources[1]
        )

    return Operator(
        name="slerp",
        coefficients=(T,),
        init=init,
        merge=merge,
        needs_base=False,
        sources=(2, 2),
    )


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    gram = np.zeros((2, 2))
    for start in range(0, first.size, CHUNK):
        part = slice(start, start + CHUNK)
        pair = np.stack([first[part], second[part]]).astype(np.float64)
        gram += pair @ pair.T
    lengths = np.sqrt(np.diag(gram))
    scale = np.prod(np.where(lengths > SMALLEST_NORM, lengths, 1.0))
    return float(np.clip(gram[0, 1] / scale, -1.0, 1.0))
