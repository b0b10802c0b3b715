"""RegMean (Jin et al., 2022), https://arxiv.org/abs/2212.09849"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import sequential_vmap

from evojax_merge.documents.arguments import check_number
from evojax_merge.operators.base import Coefficients, Leaf, LeafKey, Operator, Source, spread
from evojax_merge.operators.evidence import EvidenceRequest, LeafEvidence
from evojax_merge.operators.steps.shares import average, from_first, shares
from evojax_merge.params.types import Array, Float

FLOOR = 1e-10
"""The least element of a diagonal, as a share of its mean, with which an input that never occurs is
averaged."""
LARGEST_ALPHA = 0.999
"""Above it, dependent inputs could make a system that float32 cannot solve."""


def regmean(
    data: str | Sequence[str],
    sha256: str | Sequence[str] | None = None,
    text: str = "text",
    template: str = "",
    prefix: str = "",
    label: str = "label",
    inputs: str = "inputs",
    limit: int | None = None,
    batch_size: int = 8,
    alpha: float = 0.9,
) -> Operator:
    """The linear layers that come closest to what each source's compute on its own inputs.

    W = (sum of weight x W_i G_i) (sum of weight x G_i)^-1 for weights of shape [out, in], where G
    is the mean of x xᵀ over the inputs x of the layer, its elements off the diagonal scaled by
    ``alpha``. All other tensors (embeddings, norms, biases, tied heads) are averaged by weight. The
    coefficient of each source is ``weight``, which is at least 0, usually up to 1, and starts at
    0.5. Only the proportions count, and all zero is all equal.

    A candidate solves one system of d x d numbers for each linear layer of d inputs: d³/3 + d²·out
    multiplications, which for wide layers is far more than reading them. Before a search the
    matrices take d² float32 numbers for each source and linear layer.

    References:
        Jin et al., Dataless knowledge fusion by merging weights of language models, arXiv
        2212.09849, eq. 2 and section 3.3 (alpha). Departures: there are weights per source, the
        least diagonal element is 1e-10 of the mean, and ``alpha`` counts as at most 0.999, so that
        float32 can solve the systems.

    Args:
        data: Items that all sources are measured on, or one file for each source (the paper's way:
            the data it was trained on). `EvidenceRequest` says more of this and the next eight.
        sha256: The hash of each file; another content is refused. Recipes hold it.
        text: The field of the text.
        template: What stands before the text.
        prefix: A text that is put before everything.
        label: The array or column of a classifier's labels, which have no influence.
        inputs: The array of a classifier's features.
        limit: How many items of each file are used at most.
        batch_size: How many items are on the device at once.
        alpha: The scale of what is off the diagonal, from 0 (every input by itself) to 1.

    Raises:
        ValueError: ``alpha`` is outside [0, 1], or `EvidenceRequest.of` refuses the other
            arguments.
    """
    check_number("regmean: alpha", alpha, 0.0, 1.0)
    request = EvidenceRequest.of(
        "gram", data, sha256, text, template, prefix, label, inputs, limit, batch_size
    )

    def init(
        base: Leaf | None,
        sources: tuple[Source, ...],
        layered: bool,
        evidence: tuple[LeafEvidence, ...],
    ) -> tuple[Any, ...]:
        """Divide the matrices by the mean of their diagonals; a leaf without any has nothing."""
        if any(one is None for one in evidence):
            return ()
        matrices = [np.asarray(one, np.float64) for one in evidence]
        diagonals = [np.diagonal(one, axis1=-2, axis2=-1) for one in matrices]
        mean = np.mean(diagonals, axis=(0, -1))
        size = np.where(mean > 0, mean, 1.0)[..., None]
        units = np.eye(matrices[0].shape[-1])
        floored = [np.maximum(one / size, FLOOR)[..., None] * units for one in diagonals]
        beside = min(alpha, LARGEST_ALPHA) * (1.0 - units)
        return tuple(
            (beside * one / size[..., None] + diagonal).astype(np.float32)
            for one, diagonal in zip(matrices, floored, strict=True)
        )

    def merge(
        base: Leaf | None,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: tuple[Any, ...],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        share = shares(coefficients)
        first, added = from_first(sources)
        parts = [spread(one, first.ndim) * leaf for one, leaf in zip(share[1:], added, strict=True)]
        if not statistics:
            return first + sum(parts, jnp.zeros(()))
        weighed = [spread(one, first.ndim) * g for one, g in zip(share, statistics, strict=True)]
        products = [_product(leaf, gram) for leaf, gram in zip(added, weighed[1:], strict=True)]
        if not products:
            return first
        return first + _divide(sum(products[1:], products[0]), sum(weighed[1:], weighed[0]))

    return average("regmean", init, merge, request)


def _product(
    weights: Float[Array, "*layers out inputs"], gram: Float[Array, "*layers inputs inputs"]
) -> Float[Array, "*layers out inputs"]:
    return jnp.matmul(weights, gram, precision=jax.lax.Precision.HIGHEST)


def _divide(
    products: Float[Array, "*layers out inputs"], gram: Float[Array, "*layers inputs inputs"]
) -> Float[Array, "*layers out inputs"]:
    """``products @ inverse(gram)``, computed with the diagonal scaled to 1 for accuracy."""
    scale = jax.lax.rsqrt(jnp.diagonal(gram, axis1=-2, axis2=-1))[..., None, :]
    solve = _solve if gram.ndim == 2 else jax.vmap(_solve)
    return solve(gram * scale * scale.mT, (products * scale).mT).mT * scale


@sequential_vmap
def _cholesky_solve(
    matrix: Float[Array, "inputs inputs"], right: Float[Array, "inputs out"]
) -> Float[Array, "inputs out"]:
    """Solve one system after the other, each of which uses the whole processor.

    Two batched triangular solves of one program can wait for each other for ever on a CPU: each
    holds a thread of XLA's pool while it waits for its batch to be served by the same pool (seen
    with jaxlib 0.10.2 on two cores).
    """
    return jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(matrix), True), right)


@jax.custom_vjp
def _solve(
    matrix: Float[Array, "inputs inputs"], right: Float[Array, "inputs out"]
) -> Float[Array, "inputs out"]:
    """Solve a symmetric system; its derivative is written down, as `sequential_vmap` has none."""
    return _cholesky_solve(matrix, right)


def _solve_forward(matrix: Array, right: Array) -> tuple[Array, tuple[Array, Array]]:
    solved = _cholesky_solve(matrix, right)
    return solved, (matrix, solved)


def _solve_backward(kept: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    matrix, solved = kept
    right = _cholesky_solve(matrix, cotangent)
    return -right @ solved.T, right


_solve.defvjp(_solve_forward, _solve_backward)
