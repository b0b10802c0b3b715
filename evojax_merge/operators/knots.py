"""KnOTS (Stoica et al., 2024), https://arxiv.org/abs/2410.19735"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import check_number, check_option, check_switch
from evojax_merge.operators.base import (
    DENSITY,
    WEIGHT,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    Source,
    divisor,
    float32,
    spread,
    task_vectors,
    weighted_sum,
)
from evojax_merge.operators.statistics import is_matrix, rows, svd, task_matrices
from evojax_merge.operators.steps.cuts import Trim
from evojax_merge.operators.steps.task_vectors import elect
from evojax_merge.operators.ties import trim_table
from evojax_merge.params.low_rank import product
from evojax_merge.params.types import Array, Float


class Aligned(NamedTuple):
    """Task vectors of a matrix in one basis: that of source i is ``left @ right[i]``.

    Attributes:
        left: The common left singular vectors, ``[*layers, out, rank]``.
        right: The right vectors of each source times the singular values, ``[*layers, rank, in]``.
        trims: Which elements of ``right`` are the largest, for each source; empty without trimming.
    """

    left: Any
    right: tuple[Any, ...]
    trims: tuple[Trim, ...]


def knots(
    consensus: Literal["sum", "none"] = "sum", normalize: bool = True, lam: float = 1.0
) -> Operator:
    """Bring the task vectors to one basis by a joint SVD, and merge their coordinates in it.

    [task vectors side by side] = U S [V_1 ... V_K]^T; S V_i^T are merged by TIES, or added, to M,
    and the merge is base + lam x U M. Matrices (each layer of a stacked leaf) are merged so, other
    tensors as base + lam x weighted sum of task vectors (over the sum of weights if ``normalize``).
    The coefficients of each source are ``weight`` and, with TIES, ``density`` (what is kept of S
    V_i^T, in steps of 1/1000). Both are usually in [0, 1] and start at 0.5. U, S V_i^T and the
    tables of largest elements are computed once in float64 and held in float32; a candidate is one
    matrix product and one elementwise pass.

    References:
        Stoica et al., Model merging with SVD to tie the KnOTS, arXiv 2410.19735.
        Departures: weights are ours; trimming is tensor by tensor, where the authors' code takes
        one threshold for the model; directions that hold rounding noise alone are left out by their
        relative size, there by an absolute 1e-5.

    Args:
        consensus: ``sum`` merges by TIES. With ``none`` nothing is trimmed and the coordinates are
            added, which is task arithmetic but for rounding (the paper's KnOTS-TA).
        normalize: Divide by the sum of the weights that agree, or of all with ``none``.
        lam: The scale of the merged task vector, alpha in the paper.

    Raises:
        ValueError: ``consensus`` has no such value.
    """
    check_option("knots: consensus", consensus, ("sum", "none"))
    check_switch("knots: normalize", normalize)
    check_number("knots: lam", lam)
    trimmed = consensus == "sum"

    def init(base: Leaf, sources: tuple[Source, ...], layered: bool) -> Aligned | tuple[()]:
        if not is_matrix(base, layered):
            return ()
        layers = [
            _align(task_matrices(base, sources, layered, layer), trimmed)
            for layer in range(len(rows(base, layered)))
        ]
        if not layered:
            return jax.tree.map(jnp.asarray, layers[0])
        return jax.tree.map(_stack, *layers)

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: Aligned | tuple[()],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        weights = coefficients["weight"]
        if isinstance(statistics, Aligned) and trimmed:
            terms = []
            for source, (right, trim) in enumerate(
                zip(statistics.right, statistics.trims, strict=True)
            ):
                keeps = trim.at(coefficients["density"][source]).keeps(right)
                term = spread(weights[source], right.ndim) * right
                terms.append(jnp.where(keeps, term, 0.0))
            return float32(base) + lam * product(statistics.left, elect(terms, weights, normalize))
        total = divisor(weights.sum(axis=0, keepdims=True)) if normalize else 1.0
        weights = lam * weights / total
        if isinstance(statistics, Aligned):
            merged = weighted_sum(statistics.right, weights)
            return float32(base) + product(statistics.left, merged)
        return float32(base) + weighted_sum(task_vectors(base, sources), weights)

    return Operator(
        name="knots",
        coefficients=(WEIGHT, DENSITY) if trimmed else (WEIGHT,),
        init=init,
        merge=merge,
        needs_base=True,
        sources=(1, None),
    )


def _align(matrices: list[np.ndarray], trimmed: bool) -> Aligned:
    """Bring the task vectors of one layer to one basis."""
    left, values, right = svd(np.concatenate(matrices, axis=1))
    if not len(values):  # zero task vectors: one direction, along which nothing moves
        left = np.zeros((matrices[0].shape[0], 1))
        values, right = np.zeros(1), np.zeros((1, len(matrices) * matrices[0].shape[1]))
    scaled = (values[:, None] * right).astype(np.float32)
    parts = np.split(scaled, len(matrices), axis=1)
    tabled = parts if trimmed else []
    trims = [trim_table(np.zeros_like(part), part, layered=False) for part in tabled]
    return Aligned(left.astype(np.float32), tuple(parts), tuple(trims))


def _stack(*layers: Any) -> Array:
    """Stack the arrays of all layers, padded with zeros where fewer directions are left."""
    arrays = [np.asarray(layer) for layer in layers]
    shape = np.max([array.shape for array in arrays], axis=0)
    return jnp.asarray(
        np.stack(
            [np.pad(a, [(0, n - m) for m, n in zip(a.shape, shape, strict=True)]) for a in arrays]
        )
    )
