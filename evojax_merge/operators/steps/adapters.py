"""LoRA adapters among the sources of a sum: one product of all their factors."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from evojax_merge.operators.base import spread, task_vectors, weighted_sum
from evojax_merge.params.low_rank import Adapted, LowRank, product
from evojax_merge.params.types import Array, Float


def weighted_task_vectors(
    base: Any, sources: Sequence[Any], weights: Float[Array, " sources *layers"]
) -> Float[Array, "..."]:
    """The sum over sources of weight x task vector.

    Adapters are never dense one by one: their factors, left ones times weight and scale, are
    concatenated and multiplied once. What an adapter leaves unchanged adds nothing.
    """
    if not any(isinstance(leaf, Adapted) for leaf in sources):
        return weighted_sum(task_vectors(base, sources), weights)
    terms, left, right = [], [], []
    dense = [index for index, leaf in enumerate(sources) if not isinstance(leaf, Adapted)]
    if dense:
        vectors = task_vectors(base, [sources[index] for index in dense])
        terms.append(weighted_sum(vectors, jnp.stack([weights[index] for index in dense])))
    for weight, leaf in zip(weights, sources, strict=True):
        if isinstance(leaf, Adapted) and isinstance(leaf.own, LowRank):
            scale = weight * leaf.own.scale.astype(jnp.float32)
            left.append(spread(scale, leaf.own.b.ndim) * leaf.own.b.astype(jnp.float32))
            right.append(leaf.own.a.astype(jnp.float32))
    if left:
        added = product(jnp.concatenate(left, axis=-1), jnp.concatenate(right, axis=-2))
        terms.append(added.reshape(sources[0].shape))
    return sum(terms[1:], terms[0]) if terms else jnp.zeros(sources[0].shape, jnp.float32)
