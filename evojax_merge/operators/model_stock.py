"""Model Stock (Jang et al., 2024), https://arxiv.org/abs/2403.19522"""

import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import check_switch
from evojax_merge.operators.base import (
    Coefficient,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    Source,
    float32,
    task_vectors,
)
from evojax_merge.operators.statistics import geometry
from evojax_merge.operators.steps.span import Along, combine
from evojax_merge.params.types import Array, Float

SINGULAR = 1e-6
"""Where 1 + (N - 1) cos theta is below this, no ratio is finite and the base is kept (as in
mergekit)."""

SMALLEST_PRODUCT = 1e-6
"""A smaller product of two lengths is replaced by this one in the cosine (as in mergekit)."""

STRENGTH = Coefficient(
    "strength",
    0.0,
    2.0,
    1.0,
    per_source=False,
    description="multiplies the interpolation ratio; 1 is the paper's, 0 the base",
)


def model_stock(filter_wise: bool = False) -> Operator:
    """t x mean of the sources + (1 - t) x base, t = N cos theta / (1 + (N - 1) cos theta).

    Theta is the mean angle between the task vectors of the N sources. The coefficient is
    ``strength``, which multiplies t. It is usually in [0, 2] and starts at 1 (the paper's ratio).

    References:
        Jang et al., Model Stock: all we need is just a few fine-tuned models, arXiv 2403.19522,
        equation 3.

    Args:
        filter_wise: Take a ratio for every row of a matrix instead of one for the tensor.
    """
    check_switch("model_stock: filter_wise", filter_wise)
    along: Along = "rows" if filter_wise else "tensor"

    def init(base: Leaf, sources: tuple[Source, ...], layered: bool) -> Array:
        # In NumPy: a program for each shape of leaf would cost more than it computes.
        measured = geometry(base, sources, layered, along)
        norms, apart = np.asarray(measured.norms), np.asarray(measured.apart)
        count = len(sources)
        pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
        cosines = []
        for i, j in pairs:
            product = norms[i] * norms[j]
            inner = (1.0 - apart[i, j]) * product
            cosines.append(np.clip(inner / np.maximum(product, SMALLEST_PRODUCT), -1.0, 1.0))
        cosine = sum(cosines[1:], cosines[0]) / len(pairs)
        below = 1.0 + (count - 1) * cosine
        singular = np.abs(below) < SINGULAR
        ratio = np.where(singular, 0.0, count * cosine / np.where(singular, 1.0, below))
        return jnp.asarray(ratio, jnp.float32)

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: Array,
        key: LeafKey,
    ) -> Float[Array, "..."]:
        strength = coefficients["strength"]
        ratio = statistics * strength.reshape(
            strength.shape + (1,) * (statistics.ndim - strength.ndim)
        )
        share = ratio / len(sources)
        vectors = task_vectors(base, sources)
        return float32(base) + combine(vectors, (share,) * len(vectors))

    return Operator(
        name="model_stock",
        coefficients=(STRENGTH,),
        init=init,
        merge=merge,
        needs_base=True,
        sources=(2, None),
        statistics_name=f"model_stock {along}",
    )
