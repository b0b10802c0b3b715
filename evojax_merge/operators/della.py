"""DELLA-Merging (Deep et al., 2024), https://arxiv.org/abs/2406.11617"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from evojax_merge.operators.base import (
    DENSITY,
    PROBABILITY_BITS,
    Coefficient,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    Source,
    spread,
)
from evojax_merge.operators.statistics import in_threads, magnitudes, rank_in_rows, stack_layers
from evojax_merge.operators.steps.random_mask import draw
from evojax_merge.operators.steps.task_vectors import trim_elect_add
from evojax_merge.operators.steps.trimming import (
    Kept,
    Rescale,
    Trimming,
    ratio,
    refuse_linf,
)
from evojax_merge.params.types import Array, Float

EPSILON = Coefficient(
    "epsilon",
    0.0,
    0.3,
    0.15,
    description="keep probability runs from density - epsilon to density + epsilon",
    domain=(0.0, 0.5),
)

MARGIN = 2.0**-20
"""The least distance of a reconciled density +- epsilon from 0 and 1, which are excluded."""


def della(normalize: bool = True, rescale: Rescale | None = "l1", lam: float = 1.0) -> Operator:
    """Drop elements at random, small ones more often, elect a sign, merge those that agree.

    The coefficients of each source are ``weight``, ``density`` (the mean probability of being kept)
    and ``epsilon`` (the probability runs from density - epsilon for the smallest of a row to
    density + epsilon). The first two are usually in [0, 1] and start at 0.5; epsilon is usually in
    [0, 0.3] and starts at 0.15.

    References:
        Deep et al., DELLA-Merging: reducing interference in model merging through magnitude-based
        sampling, arXiv 2406.11617: MAGPRUNE, then elect and fuse. Departures: epsilon is half the
        paper's window, as in mergekit; the l1 norm is restored in expectation, so that no
        candidate sums over a tensor; ``inverse`` is the paper's own 1 / (1 - p).

    Args:
        normalize: Divide by the sum of the weights that agree.
        rescale: How what is kept is scaled; ``inverse`` divides each element by its own
            probability.
        lam: The scale of the merged task vector, lambda in the paper.
    """
    return trim_elect_add(
        by_rank,
        name="della",
        consensus="sum",
        normalize=normalize,
        rescale=rescale,
        lam=lam,
    )


def della_linear(
    normalize: bool = False, rescale: Rescale | None = "l1", lam: float = 1.0
) -> Operator:
    """`della` without the election of signs: a plain weighted sum."""
    return trim_elect_add(
        by_rank,
        name="della_linear",
        consensus="none",
        normalize=normalize,
        rescale=rescale,
        lam=lam,
    )


class Ranks(NamedTuple):
    """The rank of each element in its row by magnitude, from 0 (least) to 255.

    ``plain`` and ``weighted`` are sums of the norm's terms (absolute values, or squares) over a
    layer. In the second each term is weighted by rank / 255.
    """

    rank: Array
    plain: Float[Array, " *layers"]
    weighted: Float[Array, " *layers"]


def by_rank(rescale: Rescale | None = "l1") -> Trimming:
    """Keep an element with probability density - epsilon + 2 epsilon x its rank (DELLA).

    The rank of an element by magnitude in its row runs from 0 to 1; equal magnitudes have the mean
    of their ranks. At density 1 everything is kept, at 0 nothing. Where density +- epsilon leaves
    (0, 1), a search takes the largest epsilon that does not. Ranks are held in 8 bits and made by
    counting (`statistics.row_ranks`): a probability is off by about epsilon / 255, by 5 epsilon /
    255 at most, and 1e-5.

    Raises:
        ValueError: ``rescale`` is linf, which has no expectation.
    """
    refuse_linf(rescale)

    def init(base: Leaf, sources: Sequence[Source], layered: bool) -> tuple[Ranks, ...]:
        shape = np.shape(base)[int(layered) :]
        rows = shape[:1] if len(shape) > 1 else ()
        width = int(np.prod(shape[len(rows) :]))

        def of_source(source: Source) -> Ranks:
            def one(layer: int) -> tuple[Any, ...]:
                magnitude = magnitudes(base, source, layered, layer)
                found = rank_in_rows(magnitude, width, 2 if rescale == "l2" else 1)
                return found.rank.reshape(shape), found.plain, found.weighted

            return Ranks(*stack_layers(one, base, layered))

        return tuple(in_threads(of_source, sources))

    def apply(
        task_vector: Array, statistics: Any, values: dict[str, Array], key: LeafKey, source: int
    ) -> Kept:
        density = jnp.clip(values["density"], 0.0, 1.0)
        epsilon = _within(density, values["epsilon"])
        least = density - epsilon
        ndim = task_vector.ndim
        # In whole numbers of 2**-24: exact, however the compiler groups the operations.
        whole = 2.0**PROBABILITY_BITS
        lowest, step = (
            jnp.rint(x * whole).astype(jnp.uint32) for x in (least, 2.0 * epsilon / 255)
        )
        limit = spread(lowest, ndim) + spread(step, ndim) * statistics.rank.astype(jnp.uint32)
        mask = draw(key, source, task_vector.shape) < limit
        if rescale == "inverse":
            return Kept(mask, whole / jnp.maximum(limit, 1).astype(jnp.float32))
        after = least * statistics.plain + 2.0 * epsilon * statistics.weighted
        factor = ratio(statistics.plain, after)
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
    return Trimming(
        (DENSITY, EPSILON),
        apply,
        init,
        random=True,
        conflict=conflict,
        reconcile=reconcile,
        statistics_name=name,
    )


def _within(density: Array, epsilon: Array) -> Array:
    """The nearest epsilon with which density +- epsilon stays within (0, 1).

    Above a density of 1/2 the differences are exact in float32, however they are grouped.
    """
    room = jnp.minimum(density, 1.0 - density) - MARGIN
    return jnp.maximum(jnp.minimum(epsilon, room), 0.0)
