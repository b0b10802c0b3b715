"""Ways to make a task vector sparse: which elements are kept, and what they are scaled by.

A `Trimming` works on the task vector of one source. All of them look up what they must know of the
whole tensor, so that a candidate is one pass over memory.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.operators.base import DENSITY, Coefficient, Coefficients, Leaf, LeafKey, spread
from evojax_merge.operators.statistics import row_ranks_on_device
from evojax_merge.operators.statistics.row_ranks import STEPS, ranks_in_rows
from evojax_merge.operators.statistics.sums_by_place import sums_by_place
from evojax_merge.operators.steps.cuts import (
    SMALLEST_NORM,
    band_table,
    magnitudes,
    stack_layers,
    trim_table,
)
from evojax_merge.operators.steps.random_mask import BITS, draw, keep
from evojax_merge.types import Array, Bool, Float

SMALLEST_DENSITY = 2.0**-BITS
"""The least probability that a mask can have; what is kept with less is not scaled up."""

Rescale = Literal["inverse", "l1", "l2", "linf"]
"""``inverse``: divide by the probability of being kept. Otherwise: give the sparse task vector the
norm that it had before; where elements are kept at random, the l1 or l2 norm in expectation.
"""

GAMMA = Coefficient(
    "gamma",
    0.0,
    0.05,
    0.01,
    description="fraction of a task vector's largest elements that is dropped",
    domain=(0.0, 1.0),
)
EPSILON = Coefficient(
    "epsilon",
    0.0,
    0.3,
    0.15,
    description="keep probability runs from density - epsilon to density + epsilon",
    domain=(0.0, 0.5),
)


MARGIN = 2.0**-20
"""Least distance of a reconciled density +- epsilon from 0 and 1, which are excluded."""


class Kept(NamedTuple):
    """What is left of a task vector: a mask (None: everything) and factors of what is kept."""

    mask: Bool[Array, "..."] | None
    scale: Float[Array, "..."]


class Trimming(NamedTuple):
    """A way to make a task vector sparse.

    ``init(base_leaf, source_leaf, layered)`` runs once, on the host. ``apply(task_vector,
    statistics, coefficients of the source by name, key, index of the source)`` says what is kept.
    ``conflict`` and ``reconcile`` are those of `Operator`. ``statistics_name`` names what ``init``
    computes, None where that is nothing.
    """

    coefficients: tuple[Coefficient, ...]
    init: Callable[[Leaf, Leaf, bool], Any]
    apply: Callable[[Array, Any, dict[str, Array], LeafKey, int], Kept]
    random: bool = False
    conflict: Callable[[Mapping[str, float]], str | None] = lambda values: None
    reconcile: Callable[[Coefficients], Coefficients] = lambda coefficients: coefficients
    statistics_name: str | None = None


def everything(rescale: Rescale | None = None) -> Trimming:
    """Nothing is dropped."""
    del rescale

    def apply(
        task_vector: Array, statistics: Any, values: dict[str, Array], key: LeafKey, source: int
    ) -> Kept:
        return Kept(None, jnp.float32(1.0))

    return Trimming((), lambda base, source, layered: (), apply)


def by_magnitude(rescale: Rescale | None = None) -> Trimming:
    """The largest max(1, int(density x n)) of n elements are kept (TIES, step 1)."""

    norm = None if rescale == "inverse" else rescale

    def init(base: Leaf, source: Leaf, layered: bool) -> Any:
        return trim_table(base, source, layered, norm)

    def apply(
        task_vector: Array, statistics: Any, values: dict[str, Array], key: LeafKey, source: int
    ) -> Kept:
        trim = statistics.at(values["density"])
        return Kept(trim.keeps(task_vector), _inverse(values["density"], rescale, trim.rescale))

    return Trimming((DENSITY,), init, apply, statistics_name=f"trim {norm}")


def without_outliers(rescale: Rescale | None = None) -> Trimming:
    """The largest int(gamma x n) elements are dropped and the next int(density x n) kept.

    Fewer are dropped where gamma + density exceed 1; at density 1 all are kept.
    """

    norm = None if rescale == "inverse" else rescale

    def init(base: Leaf, source: Leaf, layered: bool) -> Any:
        return band_table(base, source, layered, norm)

    def apply(
        task_vector: Array, statistics: Any, values: dict[str, Array], key: LeafKey, source: int
    ) -> Kept:
        band = statistics.at(values["gamma"], values["density"])
        before, after = {
            "l2": (jnp.sqrt(band.total), jnp.sqrt(jnp.maximum(band.kept, 0.0))),
            "linf": (band.largest, band.largest_kept),
        }.get(rescale or "", (band.total, band.kept))
        factor = _ratio(before, after) if rescale else jnp.ones_like(before)
        return Kept(band.keeps(task_vector), _inverse(values["density"], rescale, factor))

    return Trimming((DENSITY, GAMMA), init, apply, statistics_name=f"band {norm}")


def at_random(rescale: Rescale | None = "inverse") -> Trimming:
    """Each element is kept with probability density (DARE).

    To divide by the density keeps the l1 norm in expectation; its root does so for l2.

    Raises:
        ValueError: ``rescale`` is linf, which has no such expectation.
    """
    _expectation(rescale)

    def apply(
        task_vector: Array, statistics: Any, values: dict[str, Array], key: LeafKey, source: int
    ) -> Kept:
        density = values["density"]
        safe = _divisor(density)
        scale = {None: jnp.ones_like(safe), "l2": 1.0 / jnp.sqrt(safe)}.get(rescale, 1.0 / safe)
        return Kept(keep(key, source, task_vector.shape, density), scale)

    return Trimming((DENSITY,), lambda base, source, layered: (), apply, random=True)


class Ranks(NamedTuple):
    """Where each element stands in its row by magnitude, from 0 (least) to 255; see
    `ranks_in_rows`.

    ``sums`` are those of the norm's terms (absolute values, or squares) over a layer, plain and
    weighted by rank / 255.
    """

    rank: Array
    plain: Float[Array, "*layers"]
    weighted: Float[Array, "*layers"]


def by_rank(rescale: Rescale | None = "l1") -> Trimming:
    """An element is kept with probability density - epsilon + 2 epsilon x its rank (DELLA).

    The rank by magnitude in its row runs from 0 to 1; equal magnitudes have the mean of their
    ranks. At density 1 everything is kept, at 0 nothing. Where density +- epsilon leaves (0, 1), a
    search takes the largest epsilon that does not. Ranks are held in 8 bits and made by counting
    (`statistics.row_ranks`): a probability is off by about epsilon / 255, by 5 epsilon
    / 255 at most, and 1e-5.

    Raises:
        ValueError: ``rescale`` is linf, which has no expectation.
    """
    _expectation(rescale)

    def init(base: Leaf, source: Leaf, layered: bool) -> Ranks:
        shape = np.shape(base)[int(layered) :]
        width = shape[-1] if len(shape) == 2 else int(np.prod(shape[1:])) if len(shape) > 2 else -1

        def one(layer: int) -> tuple[Any, ...]:
            magnitude = magnitudes(base, source, layered, layer)
            row = width if width > 0 else magnitude.size
            if isinstance(magnitude, jax.Array):
                in_rows = magnitude.reshape(-1, row)
                ranked = row_ranks_on_device.row_ranks(in_rows)
                sums = row_ranks_on_device.sums_by_rank(in_rows, ranked, rescale == "l2")
                return ranked.reshape(shape), *(np.array(x, np.float32) for x in sums)
            ranks = ranks_in_rows(magnitude, row)
            (by_rank,) = sums_by_place(
                ranks.ravel(), STEPS + 1, (magnitude,), 1 + (rescale == "l2")
            )
            weighted = by_rank @ np.arange(STEPS + 1) / STEPS
            return (
                ranks.reshape(shape),
                np.array(by_rank.sum(), np.float32),
                np.array(weighted, np.float32),
            )

        return Ranks(*stack_layers(one, base, layered))

    def apply(
        task_vector: Array, statistics: Any, values: dict[str, Array], key: LeafKey, source: int
    ) -> Kept:
        density = jnp.clip(values["density"], 0.0, 1.0)
        epsilon = _within(density, values["epsilon"])
        least = density - epsilon
        ndim = task_vector.ndim
        # In whole numbers of 2**-24: exact, however the compiler groups the operations.
        lowest, step = (
            jnp.rint(x * 2.0**BITS).astype(jnp.uint32) for x in (least, 2.0 * epsilon / 255)
        )
        limit = spread(lowest, ndim) + spread(step, ndim) * statistics.rank.astype(jnp.uint32)
        mask = draw(key, source, task_vector.shape) < limit
        if rescale == "inverse":
            return Kept(mask, 2.0**BITS / jnp.maximum(limit, 1).astype(jnp.float32))
        after = least * statistics.plain + 2.0 * epsilon * statistics.weighted
        factor = _ratio(statistics.plain, after)
        scale = {None: jnp.ones_like(factor), "l2": jnp.sqrt(factor)}.get(rescale, factor)
        return Kept(mask, scale)

    def conflict(values: Mapping[str, float]) -> str | None:
        density, epsilon = values.get("density"), values.get("epsilon")
        if density is None or epsilon is None or not 0 < density < 1:
            return None
        if density - epsilon > 0 and density + epsilon < 1:
            return None
        return f"density {density:g} +- epsilon {epsilon:g} must stay within (0, 1)"

    def reconcile(coefficients: Coefficients) -> Coefficients:
        epsilon = _within(coefficients["density"], coefficients["epsilon"])
        return coefficients | {"epsilon": epsilon}

    name = f"ranks {'l2' if rescale == 'l2' else 'l1'}"
    return Trimming((DENSITY, EPSILON), init, apply, True, conflict, reconcile, name)


TRIMMINGS: dict[str, Callable[..., Trimming]] = {
    "none": everything,
    "magnitude": by_magnitude,
    "outliers": without_outliers,
    "random": at_random,
    "rank": by_rank,
}
"""What ``trim`` of `task_vectors` may be."""


def _within(density: Array, epsilon: Array) -> Array:
    """The nearest epsilon with which density +- epsilon stays within (0, 1).

    Above a density of 1/2 the differences are exact in float32, however they are grouped.
    """
    room = jnp.minimum(density, 1.0 - density) - MARGIN
    return jnp.maximum(jnp.minimum(epsilon, room), 0.0)


def _expectation(rescale: str | None) -> None:
    if rescale == "linf":
        raise ValueError("rescale: linf is no expectation over random masks; use inverse, l1 or l2")


def _inverse(density: Array, rescale: str | None, otherwise: Array) -> Array:
    if rescale != "inverse":
        return otherwise
    return 1.0 / _divisor(density)


def _divisor(density: Array) -> Array:
    """The density, or 1 where it is too small: the slope of its inverse would leave float32."""
    return jnp.where(density >= SMALLEST_DENSITY, density, 1.0)


def _ratio(before: Array, after: Array) -> Array:
    usable = (before >= SMALLEST_NORM) & (after >= SMALLEST_NORM)
    return jnp.where(usable, before / jnp.where(usable, after, 1.0), 1.0)
