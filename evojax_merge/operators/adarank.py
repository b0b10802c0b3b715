"""AdaRank (Lee et al., 2025), https://arxiv.org/abs/2503.22178, with masks for a search"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from evojax_merge.operators.base import (
    Coefficient,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    Source,
    float32,
    spread,
    task_vectors,
    weighted_sum,
)
from evojax_merge.operators.statistics import is_matrix, stack_layers, svd, task_matrices
from evojax_merge.params.low_rank import product
from evojax_merge.params.types import Array, Float

WEIGHT = Coefficient("weight", 0.0, 1.0, 0.3, description="strength of a source; 0.3 is published")
RANK = Coefficient(
    "rank",
    0.0,
    1.0,
    1.0,
    description="share of a task vector's singular directions, the largest first, up to which they "
    "are kept",
    domain=(0.0, 1.0),
)
SKIP = Coefficient(
    "skip",
    0.0,
    0.2,
    0.0,
    description="share of the directions, the largest first, that is left out again",
    domain=(0.0, 1.0),
)


class Directions(NamedTuple):
    """The singular directions of the task vectors of a matrix, those of all sources side by side.

    Attributes:
        left: The left singular vectors, ``[*layers, rows, sources * rank]``.
        right: The right ones of each source times singular values, ``[*layers, rank, columns]``.
        counts: How many directions each source has above rounding noise, ``[*layers, sources]``.
    """

    left: Float[Array, "*layers rows directions"]
    right: tuple[Float[Array, "*layers rank columns"], ...]
    counts: Float[Array, "*layers sources"]


def adarank() -> Operator:
    """base + sum of weight x U diag(S x mask) V^T, of the task vectors U S V^T.

    Of the n directions of a task vector, the largest first, the mask keeps those from the
    (skip x n)-th to the (rank x n)-th; of a direction at either end it keeps the fraction that lies
    within, so that it moves evenly with both. Matrices (each layer of a stacked leaf) are merged
    so, other tensors as base + sum of weight x task vector. The coefficients of each source are
    ``weight``, which is usually in [0, 1] and starts at 0.3, ``rank``, which is in [0, 1] and
    starts at 1, and ``skip``, which is usually up to 0.2 and starts at 0. At the start this is task
    arithmetic. Directions are computed once in float64 and held in float32. A candidate is one
    pass over memory and one matrix product.

    References:
        Lee et al., AdaRank: adaptive rank pruning for enhanced model merging, arXiv 2503.22178;
        weights, the initial rank of 1 and which tensors have directions as in the authors' code.
        Departures: the paper learns a binary mask for each single direction, together with the
        weights, by minimising the entropy of answers to unlabelled test inputs. Here the kept
        directions follow each other, two numbers say which, and the search finds these by the
        fitness. That the largest directions can be left out is the paper's point, which ``skip``
        keeps. Directions that hold rounding noise alone are not counted.
    """

    def init(base: Leaf, sources: tuple[Source, ...], layered: bool) -> Directions | tuple[()]:
        if not is_matrix(base, layered):
            return ()

        def of_layer(layer: int) -> tuple[np.ndarray, ...]:
            return _decompose(task_matrices(base, sources, layered, layer))

        left, counts, *right = stack_layers(of_layer, base, layered)
        return Directions(left, tuple(right), counts)

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: Directions | tuple[()],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        weights = coefficients["weight"]
        if not isinstance(statistics, Directions):
            return float32(base) + weighted_sum(task_vectors(base, sources), weights)
        kept = []
        for source, right in enumerate(statistics.right):
            count = statistics.counts[..., source, None]
            place = lax.broadcasted_iota(jnp.float32, right.shape[:-1], right.ndim - 2)
            upto, left_out = (
                jnp.clip(spread(coefficients[name][source], count.ndim) * count - place, 0.0, 1.0)
                for name in ("rank", "skip")
            )
            mask = jnp.maximum(upto - left_out, 0.0)
            kept.append(spread(weights[source], right.ndim) * mask[..., None] * right)
        return float32(base) + product(statistics.left, jnp.concatenate(kept, axis=-2))

    return Operator(
        "adarank", (WEIGHT, RANK, SKIP), init, merge, needs_base=True, sources=(1, None)
    )


def _decompose(matrices: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Left vectors of all sources, how many each has, and scaled right vectors, of one layer."""
    rank, lefts, rights = min(matrices[0].shape), [], []
    parts = [svd(one) for one in matrices]
    for left, values, right in parts:
        missing = (0, rank - len(values))
        lefts.append(np.pad(left, [(0, 0), missing]))
        rights.append(np.pad(values[:, None] * right, [missing, (0, 0)]))
    counts = np.array([len(values) for _, values, _ in parts])
    arrays = (np.concatenate(lefts, axis=1), counts, *rights)
    return tuple(array.astype(np.float32) for array in arrays)
