"""TALL masks and Consensus Task Arithmetic (Wang et al., 2024), https://arxiv.org/abs/2405.07813"""

import jax.numpy as jnp

from evojax_merge.documents.arguments import check_number, check_whole
from evojax_merge.operators.base import (
    WEIGHT,
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
    weighted_sum,
)
from evojax_merge.params.types import Array, Float

THRESHOLD = Coefficient(
    "threshold",
    0.0,
    1.0,
    0.4,
    description="how large a task's element must be beside what the other tasks add to it",
    domain=(0.0, float("inf")),
)


def consensus_ta(least: int = 2, lam: float = 1.0) -> Operator:
    """Task arithmetic on the elements that matter to at least ``least`` of the tasks.

    An element matters to a task where |task vector| >= threshold x |merged - task vector|, merged
    being the weighted sum; these elements are the task's TALL mask. The coefficients of each source
    are ``weight``, which starts at 0.5, and ``threshold``, which starts at 0.4 (the paper chooses
    from 0.2 to 0.6). Both are usually in [0, 1].

    References:
        Wang et al., Localizing task information for improved model merging and compression, arXiv
        2405.07813, equations 4 and 6. Departure: weights are ours; the paper's merged vector is the
        plain sum, weights of 1.

    Args:
        least: How many tasks an element must matter to; 2 in the paper, 0 keeps everything. There
            must be as many sources.
        lam: The scale of the merged task vector, alpha in the paper.
    """
    check_whole("consensus_ta: least", least, 0)
    check_number("consensus_ta: lam", lam)

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: tuple[()],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        vectors = task_vectors(base, sources)
        merged = weighted_sum(vectors, coefficients["weight"])
        matters = _matters(merged, vectors, coefficients["threshold"])
        votes = sum(mask.astype(jnp.int32) for mask in matters)
        kept = votes >= least
        return float32(base) + lam * jnp.where(kept, merged, 0.0)

    return Operator(
        name="consensus_ta",
        coefficients=(WEIGHT, THRESHOLD),
        init=no_statistics,
        merge=merge,
        needs_base=True,
        sources=(max(1, least), None),
    )


def tall_mask(task: int = 0, lam: float = 1.0) -> Operator:
    """The elements of the merged task vector that matter to one task: its TALL mask applied.

    The coefficients are those of `consensus_ta`.

    References:
        Wang et al., arXiv 2405.07813, equations 4 and 5; they store these masks to compress many
        models.

    Args:
        task: The index of the source whose model is wanted back.
        lam: The scale of the merged task vector.
    """
    check_whole("tall_mask: task", task, 0)
    check_number("tall_mask: lam", lam)

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: tuple[()],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        vectors = task_vectors(base, sources)
        merged = weighted_sum(vectors, coefficients["weight"])
        mask = _matters(merged, vectors, coefficients["threshold"])[task]
        return float32(base) + lam * jnp.where(mask, merged, 0.0)

    return Operator(
        name="tall_mask",
        coefficients=(WEIGHT, THRESHOLD),
        init=no_statistics,
        merge=merge,
        needs_base=True,
        sources=(task + 1, None),
    )


def _matters(merged: Array, vectors: list[Array], thresholds: Array) -> list[Array]:
    return [
        jnp.abs(vector) >= spread(threshold, vector.ndim) * jnp.abs(merged - vector)
        for vector, threshold in zip(vectors, thresholds, strict=True)
    ]
