"""Signs of task vectors alone (BitDelta, Liu et al., 2024), https://arxiv.org/abs/2402.10193"""

import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import check_number, check_switch
from evojax_merge.operators.base import (
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
)
from evojax_merge.operators.statistics import stack_layers, task_vector_row
from evojax_merge.params.types import Array, Float


def sign_only(normalize: bool = False, lam: float = 1.0) -> Operator:
    """base + lam x sum of weight x mean|task vector| x sign(task vector).

    The scale of a tensor's signs is the one nearest to its task vector in the l2 norm. The
    coefficient is the ``weight`` of each source, which is usually in [0, 1] and starts at 0.5.

    References:
        Liu et al., BitDelta: your fine-tune may only be worth one bit, arXiv 2402.10193, equation
        2, without its distillation of the scales.

    Args:
        normalize: Divide the sum by the sum of weights, by 1 where that is below 1e-8.
        lam: The scale of the merged task vector.
    """
    check_switch("sign_only: normalize", normalize)
    check_number("sign_only: lam", lam)

    def init(base: Leaf, sources: tuple[Source, ...], layered: bool) -> tuple[Array, ...]:
        def means(layer: int) -> tuple[np.float32, ...]:
            vectors = (task_vector_row(base, source, layered, layer) for source in sources)
            return tuple(np.abs(v).mean(dtype=np.float64).astype(np.float32) for v in vectors)

        return tuple(stack_layers(means, base, layered))

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: tuple[Array, ...],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        weights = coefficients["weight"]
        if normalize:
            weights = weights / divisor(weights.sum(axis=0, keepdims=True))
        terms = [
            spread(lam * weight * size, vector.ndim) * jnp.sign(vector)
            for weight, size, vector in zip(
                weights, statistics, task_vectors(base, sources), strict=True
            )
        ]
        return float32(base) + sum(terms[1:], terms[0])

    return Operator(
        name="sign_only",
        coefficients=(WEIGHT,),
        init=init,
        merge=merge,
        needs_base=True,
        sources=(1, None),
    )
