"""Ways to make a task vector sparse: which elements are kept, and what they are scaled by.

The papers that do so each define a `Trimming` of their own. All of them look up what they must know
of the whole tensor, so that a candidate is one pass over memory.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp

from evojax_merge.operators.base import (
    PROBABILITY_BITS,
    Coefficient,
    Coefficients,
    Leaf,
    LeafKey,
    Source,
)
from evojax_merge.params.types import Array, Bool, Float

Rescale = Literal["inverse", "l1", "l2", "linf"]
"""``inverse`` divides by the probability of being kept. The others give the sparse task vector the
norm that it had before; where elements are kept at random, the l1 or l2 norm in expectation.
"""

Norm = Literal["l1", "l2", "linf"]
"""The norms among `Rescale`."""

SMALLEST_DENSITY = 2.0**-PROBABILITY_BITS
"""The least probability that a mask can have; what is kept with less is not scaled up."""

SMALLEST_NORM = 1e-7
"""Below this norm a trimmed task vector is not rescaled (as in mergekit)."""


class Kept(NamedTuple):
    """What is left of a task vector: a mask (None for everything) and factors of what is kept."""

    mask: Bool[Array, "..."] | None
    scale: Float[Array, "..."]


def nothing_known(base: Leaf, sources: Sequence[Source], layered: bool) -> tuple[tuple[()], ...]:
    """``init`` of a trimming that needs to know nothing about whole tensors."""
    return ((),) * len(sources)


class Trimming(NamedTuple):
    """A way to make a task vector sparse.

    ``apply(task_vector, statistics of the source, coefficients of the source by name, key, index
    of the source)`` says what is kept. ``init(base_leaf, source_leaves, layered)`` returns the
    statistics of each source, and runs once, on the host. ``init_fixed(tensors, coefficients)``
    returns those of each source for known fractions; a part of a tensor has them with its own
    position as ``first``. ``conflict``, ``reconcile`` and ``statistics_name`` are those of
    `Operator`.
    """

    coefficients: tuple[Coefficient, ...]
    apply: Callable[[Array, Any, dict[str, Array], LeafKey, int], Kept]
    init: Callable[[Leaf, Sequence[Source], bool], tuple[Any, ...]] = nothing_known
    init_fixed: Callable[[Any, Mapping[str, Any]], Sequence[Any]] | None = None
    random: bool = False
    conflict: Callable[[Mapping[str, float]], str | None] = lambda values: None
    reconcile: Callable[[Coefficients], Coefficients] = lambda coefficients: coefficients
    statistics_name: str | None = None


def everything(rescale: Rescale | None = None) -> Trimming:
    """Keep everything."""
    del rescale

    def apply(
        task_vector: Array, statistics: Any, values: dict[str, Array], key: LeafKey, source: int
    ) -> Kept:
        return Kept(None, jnp.float32(1.0))

    return Trimming((), apply)


def norm_of(rescale: Rescale | None) -> Norm | None:
    """The norm that is restored, or None where none is."""
    return None if rescale == "inverse" else rescale


def refuse_linf(rescale: Rescale | None) -> None:
    """Check that what is kept at random can be rescaled so.

    Raises:
        ValueError: ``rescale`` is linf, which has no expectation.
    """
    if rescale == "linf":
        raise ValueError("rescale: linf is no expectation over random masks; use inverse, l1 or l2")


def inverse_or(otherwise: Any, density: Array, rescale: Rescale | None) -> Array:
    """The factor of what is kept: one over the density for ``inverse``, or another."""
    return 1.0 / safe_density(density) if rescale == "inverse" else otherwise


def safe_density(density: Array) -> Array:
    """The density, or 1 where it is too small: the slope of its inverse would leave float32."""
    return jnp.where(density >= SMALLEST_DENSITY, density, 1.0)


def ratio(before: Any, after: Any) -> Array:
    """A norm before trimming over the norm after, or 1 where either is too small."""
    usable = (before >= SMALLEST_NORM) & (after >= SMALLEST_NORM)
    return jnp.where(usable, before / jnp.where(usable, after, 1.0), 1.0)
