"""Reinforced Agent Merging (Yuan et al., 2026), https://arxiv.org/abs/2601.13572"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import check_number
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
)
from evojax_merge.operators.magmax import WEIGHT
from evojax_merge.operators.statistics import Tensors, stack_layers, task_vector_row
from evojax_merge.params.types import Array, Float

R = Coefficient(
    "r",
    0.0,
    1.0,
    0.1,
    per_source=False,
    description="how much a source's own elements are raised by its share of common ones",
    domain=(0.0, float("inf")),
)
ALPHA = Coefficient(
    "alpha",
    0.0,
    1.0,
    0.2,
    per_source=False,
    description="greatest share of common elements that counts",
    domain=(0.0, float("inf")),
)


def ram(epsilon: float = 1e-5) -> Operator:
    """Keep what one source alone changed, and average what several changed.

    The coefficient is the ``weight`` of each task vector, which is usually in [0, 1] and starts at
    1 (the method itself).

    References:
        Reinforced agent merging, arXiv 2601.13572, as in mergekit 0.1.5; weights are ours.

    Args:
        epsilon: An element of a task vector no greater than this is no change; it is at least 0.
    """
    return _ram("ram", epsilon, raised=False)


def ramplus(epsilon: float = 1e-5) -> Operator:
    """`ram` with a source's own changes raised by 1 + r x min(alpha, common / own elements).

    Elements are counted tensor by tensor (mergekit's ramplus_tl). The coefficients are ``weight``
    as in `ram`, and one ``r`` and one ``alpha`` for all sources. These two are usually in [0, 1]
    and start at 0.1 and 0.2.

    References:
        Reinforced agent merging, arXiv 2601.13572, as in mergekit 0.1.5.

    Args:
        epsilon: An element of a task vector no greater than this is no change.
    """
    return _ram("ramplus", epsilon, raised=True)


def _ram(name: str, epsilon: float, raised: bool) -> Operator:
    check_number(f"{name}: epsilon", epsilon, 0.0)
    limit = np.float32(epsilon)
    least = max(epsilon, float(np.finfo(np.float32).tiny))

    def counts(magnitudes: Iterable[np.ndarray]) -> np.ndarray:
        """How many elements each source alone changed, and how many it changed at all."""
        changed = np.stack([magnitude > limit for magnitude in magnitudes])
        alone = changed.sum(axis=0) == 1
        return np.stack([np.count_nonzero(some, axis=1) for some in (changed & alone, changed)])

    def ratios_of(counted: Any) -> tuple[np.float32, ...]:
        """For each source, elements that others changed too over those that it alone changed."""
        own, all_ = counted
        return tuple(((all_ - own) / np.maximum(own, least)).astype(np.float32))

    def init(base: Leaf, sources: tuple[Source, ...], layered: bool) -> tuple[Array, ...]:
        if not raised:
            return ()

        def ratios(layer: int) -> tuple[np.float32, ...]:
            vectors = (task_vector_row(base, source, layered, layer) for source in sources)
            return ratios_of(counts(np.abs(vector) for vector in vectors))

        return tuple(stack_layers(ratios, base, layered))

    def init_fixed(
        tensors: Tensors, coefficients: Mapping[str, Any]
    ) -> Callable[[int, int], tuple[np.float32, ...]]:
        found = ratios_of(sum(counts(magnitudes) for _, magnitudes in tensors.magnitudes()))
        return lambda first, count: found

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: tuple[Array, ...],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        vectors = task_vectors(base, sources)
        changed = [jnp.abs(vector) > limit for vector in vectors]
        counts = sum(mask.astype(jnp.float32) for mask in changed)
        terms = []
        for source, (vector, mask) in enumerate(zip(vectors, changed, strict=True)):
            own = jnp.float32(1.0)
            if raised:
                share = jnp.clip(statistics[source], 0.0, coefficients["alpha"])
                own = spread(1.0 + coefficients["r"] * share, vector.ndim)
            factor = jnp.where(counts > 1, 1.0 / jnp.maximum(counts, 1.0), own)
            weighted = spread(coefficients["weight"][source], vector.ndim) * vector
            terms.append(jnp.where(mask, factor * weighted, 0.0))
        return float32(base) + sum(terms[1:], terms[0])

    return Operator(
        name=name,
        coefficients=(WEIGHT, R, ALPHA) if raised else (WEIGHT,),
        init=init,
        merge=merge,
        needs_base=True,
        sources=(1, None),
        init_fixed=init_fixed if raised else None,
    )
