"""LARV (Wang et al., 2026), https://arxiv.org/abs/2602.09413, on task arithmetic and TIES"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from evojax_merge.operators.base import (
    Coefficient,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    Source,
)
from evojax_merge.operators.statistics import in_threads, is_matrix, rows, task_matrices
from evojax_merge.operators.steps.task_vectors import Consensus
from evojax_merge.operators.steps.trimming import Rescale
from evojax_merge.operators.task_vectors import Trim, task_vectors
from evojax_merge.params.types import Array, Float

STRENGTH = Coefficient(
    "strength",
    0.0,
    1.0,
    0.5,
    per_source=False,
    description="how far the scales of the lowest and the highest third of the layers are from 1",
)


class Tiered(NamedTuple):
    """What the merger beneath must know, and the tier of each layer of each task vector.

    Attributes:
        merger: The statistics of the merger.
        tiers: -1 in the lowest third of the layers, 1 in the highest, 0 between, ``[sources,
            layers]``; 0 for all where a leaf is no stack of matrices.
    """

    merger: Any
    tiers: Float[Array, " sources *layers"]


def larv(
    trim: Trim = "none",
    consensus: Consensus = "none",
    rescale: Rescale | None = None,
    lam: float = 1.0,
) -> Operator:
    """Task arithmetic, or TIES as a sum, with task vectors that are scaled layer by layer.

    A layer W of the base with the task vector T scores e x sqrt(d) / (1 + softplus(z)). e is the
    effective rank of W over that of T, d is the layer's depth from 1 / L to 1, and z the conflict
    ||W T^T - T W^T|| / (|W| |T|), averaged with that of the transposed, in standard deviations from
    the mean over layers. In the lowest third of the scores T is scaled by 1 - strength, in the
    highest by 1 + strength, and the merge is that of `evojax_merge.operators.task_vectors` with
    these scales times the weights. Tiers are found once before a search, for each source and each
    stacked matrix; nothing else is scaled. The coefficients are those of the merger beneath and one
    ``strength`` for all sources, which is usually in [0, 1] and starts at 0.5; 0 is the merger
    itself.

    References:
        Wang et al., LARV: data-free layer-wise adaptive rescaling veneer for model merging, arXiv
        2602.09413, with its exponents, 1 of e and 1/2 of d, as another's implementation of the
        paper has the formula; the paper's own text was not at hand. Departures: the paper fixes the
        scales of its tiers; here ``strength`` sets them, so that they can evolve, and its default
        is ours.
        Each kind of matrix, stacked over its layers, has tiers of its own, where the paper scores a
        layer as a whole. There is no mean over the sources that agree (``normalize``), as it would
        divide the scales out again.

    Args:
        trim: Which elements of a task vector are kept, as in `task_vectors`; ``magnitude`` with
            ``consensus`` ``sum`` is TIES.
        consensus: Which sign an element must have to be added, as in `task_vectors`.
        rescale: What a trimmed task vector is scaled by, as in `task_vectors`.
        lam: The scale of the merged task vector.

    Raises:
        ValueError: A setting has a value that it cannot have.
    """
    merger = task_vectors(trim, consensus, False, rescale, lam, name="larv")

    def init(base: Leaf, sources: tuple[Source, ...], layered: bool) -> Tiered:
        known = merger.init(base, sources, layered)
        if not (layered and is_matrix(base, layered)):
            return Tiered(known, jnp.zeros((len(sources), *np.shape(base)[: int(layered)])))

        def of_layer(layer: int) -> np.ndarray:
            matrices = task_matrices(base, sources, layered, layer)
            origin = np.asarray(rows(base, layered)[layer], np.float64).reshape(matrices[0].shape)
            return np.array([_proxies(origin, one) for one in matrices])

        layers = in_threads(of_layer, range(len(rows(base, layered))))
        proxies = np.stack(layers, axis=1)  # [sources, layers, 2]
        return Tiered(known, jnp.asarray([_tiers(*own.T) for own in proxies], jnp.float32))

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: Tiered,
        key: LeafKey,
    ) -> Float[Array, "..."]:
        tiers, weights = statistics.tiers, coefficients["weight"]
        scales = 1.0 + coefficients["strength"] * tiers
        weights = weights.reshape(weights.shape + (1,) * (tiers.ndim - weights.ndim)) * scales
        return merger.merge(
            base, sources, coefficients | {"weight": weights}, statistics.merger, key
        )

    return merger._replace(
        coefficients=(*merger.coefficients, STRENGTH),
        init=init,
        merge=merge,
        statistics_name=None,
        init_fixed=None,
    )


def _proxies(origin: np.ndarray, vector: np.ndarray) -> tuple[float, float]:
    """The contrast of the effective ranks, and the conflict, of one layer."""
    contrast = _effective_rank(origin) / _effective_rank(vector)
    size = float(np.linalg.norm(origin) * np.linalg.norm(vector))
    if not size:
        return contrast, 0.0
    ends = (origin @ vector.T, origin.T @ vector)
    return contrast, sum(float(np.linalg.norm(end - end.T)) for end in ends) / (2 * size)


def _effective_rank(matrix: np.ndarray) -> float:
    """The exponential of the entropy of the singular values' squares; 1 of a matrix of zeros."""
    energy = np.square(np.linalg.svd(matrix, compute_uv=False))
    shares = energy[energy > 0] / energy.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _tiers(contrasts: np.ndarray, conflicts: np.ndarray) -> np.ndarray:
    """The tier of each layer of one task vector."""
    count, spread = len(conflicts), conflicts.std()
    beyond = (conflicts - conflicts.mean()) / (spread if spread > 1e-8 else 1.0)
    depths = np.arange(1, count + 1) / count
    scores = contrasts * np.sqrt(depths) / (1.0 + np.logaddexp(0.0, beyond))
    low, high = np.quantile(scores, [1 / 3, 2 / 3])
    return np.sign((scores > high) * 1.0 - (scores < low))
