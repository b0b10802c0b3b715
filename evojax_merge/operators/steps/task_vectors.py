"""Trim, elect, add: the steps that nearly every method on task vectors goes through.

TIES-Merging (Yadav et al., 2023), https://arxiv.org/abs/2306.01708, has all of them; others leave
one out or replace it (mergekit's "generalised task arithmetic").
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import check_number, check_option, check_switch
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
from evojax_merge.operators.steps.trimming import Rescale, Trimming
from evojax_merge.params.types import Array, Float

Consensus = Literal["none", "sum", "count"]
"""Which sign an element must have to be added: any sign, that of the weighted sum, or the one that
more sources have."""


def trim_elect_add(
    trim: Callable[[Rescale | None], Trimming],
    *,
    name: str,
    consensus: Consensus,
    normalize: bool,
    rescale: Rescale | None,
    lam: float,
) -> Operator:
    """base + lam x merge of weight x trim(source - base).

    Args:
        trim: A function that makes the way in which task vectors are made sparse.
        name: The operator's name, which messages give.
        consensus: Add only what has the elected sign, if any is elected.
        normalize: Divide by the sum of the weights that took part, by 1 where that is below 1e-8.
        rescale: What a trimmed task vector is scaled by.
        lam: The scale of the merged task vector.

    Raises:
        ValueError: A setting has a value that it cannot have, or the trim cannot be rescaled so.
    """
    check_steps(name, consensus, normalize, rescale, lam)
    trimming = trim(rescale)
    of_parts = trimming.init_fixed

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: tuple[Any, ...],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        weights = coefficients["weight"]
        terms = []
        for source, task_vector in enumerate(task_vectors(base, sources)):
            own = {c.name: coefficients[c.name][source] for c in trimming.coefficients}
            kept = trimming.apply(task_vector, statistics[source], own, key, source)
            scale = spread(weights[source], task_vector.ndim) * spread(kept.scale, task_vector.ndim)
            term = scale * task_vector
            terms.append(term if kept.mask is None else jnp.where(kept.mask, term, 0.0))
        if consensus == "none":
            merged = sum(terms[1:], terms[0])
            if normalize:
                merged = merged / spread(divisor(weights.sum(axis=0)), merged.ndim)
        else:
            merged = elect(terms, weights, normalize, by_count=consensus == "count")
        return float32(base) + lam * merged

    def init_fixed(
        tensors: Any, coefficients: Mapping[str, Any]
    ) -> Callable[[int, int], tuple[Any, ...]]:
        assert of_parts is not None
        found = of_parts(tensors, coefficients)
        return lambda first, count: tuple(one._replace(first=np.uint32(first)) for one in found)

    return Operator(
        name=name,
        coefficients=(WEIGHT, *trimming.coefficients),
        init=trimming.init,
        merge=merge,
        needs_base=True,
        sources=(1, None),
        random=trimming.random,
        conflict=trimming.conflict,
        reconcile=trimming.reconcile,
        statistics_name=trimming.statistics_name,
        init_fixed=None if of_parts is None else init_fixed,
    )


def elect(
    terms: Sequence[Float[Array, "..."]],
    weights: Float[Array, " sources *layers"],
    normalize: bool,
    by_count: bool = False,
) -> Float[Array, "..."]:
    """The sum, element by element, of the terms whose sign is the elected one.

    A tie elects the positive sign. With ``normalize`` the result is divided by the sum of the
    weights that agree. Departure: it is the sum of their absolute values, or 1 below 1e-8, so that
    weights of opposite sign cannot cancel and blow an element up. For weights >= 0 it is
    mergekit's.

    Args:
        terms: The product weight x sparse task vector of each source.
        weights: The weight of each source.
        normalize: Divide by the sum of the weights.
        by_count: Elect the sign that more terms have, not that of their sum.
    """
    votes = [jnp.sign(term) for term in terms] if by_count else list(terms)
    sign = jnp.where(sum(votes[1:], votes[0]) >= 0, jnp.float32(1.0), jnp.float32(-1.0))
    # Turned so that those which agree are positive: exact, and fewer operations than a choice.
    turned = [sign * term for term in terms]
    kept = [jnp.where(term > 0, term, 0.0) for term in turned]
    merged = sign * sum(kept[1:], kept[0])
    if not normalize:
        return merged
    sizes = [
        jnp.where(term > 0, spread(jnp.abs(weight), term.ndim), 0.0)
        for term, weight in zip(turned, weights, strict=True)
    ]
    return merged / divisor(sum(sizes[1:], sizes[0]))


def check_steps(name: str, consensus: Any, normalize: Any, rescale: Any, lam: Any) -> None:
    """Check that the settings of the steps have values that they can have.

    Raises:
        ValueError: One of them has another value.
    """
    check_option(f"{name}: consensus", consensus, ("none", "sum", "count"))
    check_option(f"{name}: rescale", rescale, (None, "inverse", "l1", "l2", "linf"))
    check_switch(f"{name}: normalize", normalize)
    check_number(f"{name}: lam", lam)
