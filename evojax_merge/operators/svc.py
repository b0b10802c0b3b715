"""Singular Value Calibration (Li et al., 2026), https://arxiv.org/abs/2602.05536"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

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
from evojax_merge.operators.statistics import (
    is_matrix,
    rounding,
    stack_layers,
    svd,
    task_matrices,
)
from evojax_merge.params.low_rank import product
from evojax_merge.params.types import Array, Float

WEIGHT = Coefficient(
    "weight", 0.0, 1.0, 0.3, description="strength of a source before calibration; 0.3 is published"
)
ALPHA = Coefficient(
    "alpha",
    0.05,
    1.0,
    0.1,
    per_source=False,
    description="the least that a source counts in a direction; 1 only weakens directions",
    domain=(1e-3, float("inf")),
)


class Responses(NamedTuple):
    """The task vectors of a matrix in the output directions of their sum.

    Attributes:
        left: The left singular vectors of the sum, ``[*layers, rows, rank]``.
        shares: Entry (i, j) says how often source j counts source i, ``[*layers, i, j, rank]``.
        rows: ``left^T`` x task vector of each source, ``[*layers, rank, columns]``.
    """

    left: Float[Array, "*layers rows rank"]
    shares: Float[Array, "*layers sources sources rank"]
    rows: tuple[Float[Array, "*layers rank columns"], ...]


def svc() -> Operator:
    """Task arithmetic whose singular values are reduced where several sources push the same way.

    With U from the sum of the task vectors T_i, the rows a_i = u^T T_i of an output direction u
    merge to a = sum of weight_i x a_i. s_i = <a, a_i> / |a_i|^2 says how often source i is counted
    in it, and gamma = K / sum_i max(alpha, s_i) calibrates it: the merge is base + U diag(gamma)
    [a]. Matrices (each layer of a stacked leaf) are merged so, other tensors as base + sum of
    weight_i x task vector. The coefficients are ``weight`` of each source, which is usually in
    [0, 1] and starts at 0.3, and one ``alpha`` for all, which is usually in [0.05, 1] and starts at
    0.1. Below 1, directions that are counted less than once are strengthened.

    U and the rows are computed once in float64 and held in float32. A candidate is one pass over
    memory and one matrix product.

    References:
        Li et al., When shared knowledge hurts: spectral over-accumulation in model merging, arXiv
        2602.05536, equation 8 and algorithm 1, on task arithmetic with 0.3 as in the authors' code,
        whose command line has alpha 0.1; their experiments take 1 / K. Departures: U is that of
        equal weights, whatever the weights are, with which this is the paper's; directions that
        hold rounding noise alone are left out, and rows that do are not counted.
    """

    def init(base: Leaf, sources: tuple[Source, ...], layered: bool) -> Responses | tuple[()]:
        if not is_matrix(base, layered):
            return ()

        def of_layer(layer: int) -> tuple[np.ndarray, ...]:
            return _respond(task_matrices(base, sources, layered, layer))

        left, shares, *rows = stack_layers(of_layer, base, layered)
        return Responses(left, shares, tuple(rows))

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: Responses | tuple[()],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        weights = coefficients["weight"]
        if not isinstance(statistics, Responses):
            return float32(base) + weighted_sum(task_vectors(base, sources), weights)
        shares, every = statistics.shares, range(len(sources))
        alpha = spread(coefficients["alpha"], statistics.rows[0].ndim - 1)
        counted = [
            jnp.maximum(weighted_sum([shares[..., i, j, :] for j in every], weights), alpha)
            for i in every
        ]
        gamma = len(sources) / sum(counted[1:], counted[0])
        merged = gamma[..., None] * weighted_sum(statistics.rows, weights)
        return float32(base) + product(statistics.left, merged)

    return Operator("svc", (WEIGHT, ALPHA), init, merge, needs_base=True, sources=(1, None))


def _respond(matrices: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Left singular vectors, shares, and the rows of each source, of one layer."""
    left, _, _ = svd(sum(matrices[1:], matrices[0]))
    left = np.pad(left, [(0, 0), (0, min(matrices[0].shape) - left.shape[1])])
    rows = [left.T @ one for one in matrices]
    products = np.einsum("irc,jrc->ijr", rows, rows)
    own = np.einsum("iir->ir", products)[:, None]
    noise = np.array([rounding(one) for one in matrices])[:, None, None]
    shares = np.divide(products, own, out=np.zeros_like(products), where=own > np.square(noise))
    return tuple(array.astype(np.float32) for array in (left, shares, *rows))
