"""Task-vector merges (Ilharco et al., 2022), https://arxiv.org/abs/2212.04089: trim, elect, add.

Nearly every method on task vectors is a choice at each of four steps (mergekit's "generalised task
arithmetic"). `task_vectors` makes the operator of any choice; the named methods are settings of it:

| method | trim | consensus | normalize | rescale |
|---|---|---|---|---|
| task_arithmetic | none | none | no | |
| ties | magnitude | sum | yes | |
| dare_linear | random | none | no | inverse |
| dare_ties | random | sum | no | inverse |
| breadcrumbs | outliers | none | no | |
| breadcrumbs_ties | outliers | sum | no | |
| della | rank | sum | yes | l1 |
| della_linear | rank | none | no | l1 |
"""

from collections.abc import Sequence
from typing import Any, Literal

import jax.numpy as jnp

from evojax_merge.arguments import check_number, check_option, check_switch
from evojax_merge.operators import base as steps
from evojax_merge.operators.base import (
    WEIGHT,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    divisor,
    float32,
    spread,
)
from evojax_merge.operators.statistics.threads import in_threads
from evojax_merge.operators.steps.adapters import weighted_task_vectors
from evojax_merge.operators.steps.trimming import TRIMMINGS, Rescale
from evojax_merge.types import Array, Float

Trim = Literal["none", "magnitude", "outliers", "random", "rank"]
Consensus = Literal["none", "sum", "count"]


def task_vectors(
    trim: Trim = "none",
    consensus: Consensus = "none",
    normalize: bool = False,
    rescale: Rescale | None = None,
    lam: float = 1.0,
    name: str = "task_vectors",
) -> Operator:
    """base + lam x merge of weight x trim(source - base).

    Coefficients of each source: ``weight``, any number, usually in [0, 1], start 0.5; with a trim
    ``density`` in [0, 1], in steps of 1/1000 but for random masks, start 0.5; with ``outliers``
    ``gamma`` in [0, 1], in the same steps, usually up to 0.05, start 0.01; with ``rank``
    ``epsilon`` in [0, 0.5], usually up to 0.3, start 0.15.

    References:
        Ilharco et al., arXiv 2212.04089 (sum); Yadav et al., arXiv 2306.01708 (trim, elect,
        disjoint mean); Yu et al., arXiv 2311.03099 (random, inverse); Davari and Belilovsky, arXiv
        2312.06795 (outliers); Deep et al., arXiv 2406.11617 (rank).

    Args:
        trim: Which elements of a task vector are kept: all (``none``), the largest (``magnitude``),
            the largest but for outliers (``outliers``), any with the same probability (``random``)
            or the larger with the greater (``rank``). Brings its own coefficients.
        consensus: Add only what has the elected sign: that of the weighted ``sum``, or the one that
            more sources have (``count``). A tie elects the positive sign.
        normalize: Divide by the sum of the weights that took part, by 1 where that is below 1e-8.
        rescale: What a trimmed task vector is scaled by, see
            `evojax_merge.operators.steps.trimming.Rescale`.
        lam: Scale of the merged task vector, lambda in the papers.
        name: Of the operator.

    Raises:
        ValueError: A setting has no such value, or the trim cannot be rescaled so.
    """
    for setting, value, known in (
        ("trim", trim, tuple(TRIMMINGS)),
        ("consensus", consensus, ("none", "sum", "count")),
        ("rescale", rescale, (None, "inverse", "l1", "l2", "linf")),
    ):
        check_option(f"{name}: {setting}", value, known)
    check_switch(f"{name}: normalize", normalize)
    check_number(f"{name}: lam", lam)
    trimming = TRIMMINGS[trim](rescale)

    def init(base: Leaf, sources: tuple[Leaf, ...], layered: bool) -> tuple[Any, ...]:
        return tuple(in_threads(lambda source: trimming.init(base, source, layered), sources))

    def merge(
        base: Leaf,
        sources: tuple[Leaf, ...],
        coefficients: Coefficients,
        statistics: tuple[Any, ...],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        weights = coefficients["weight"]
        if trim == "none" and consensus == "none":
            total = divisor(weights.sum(axis=0, keepdims=True)) if normalize else 1.0
            return float32(base) + weighted_task_vectors(base, sources, lam * weights / total)
        vectors = steps.task_vectors(base, sources)
        terms = []
        for source, task_vector in enumerate(vectors):
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

    return Operator(
        name=name,
        coefficients=(WEIGHT, *trimming.coefficients),
        init=init,
        merge=merge,
        needs_base=True,
        sources=(1, None),
        random=trimming.random,
        conflict=trimming.conflict,
        reconcile=trimming.reconcile,
        statistics_name=trimming.statistics_name,
    )


def elect(
    terms: Sequence[Float[Array, "..."]],
    weights: Float[Array, "sources *layers"],
    normalize: bool,
    by_count: bool = False,
) -> Float[Array, "..."]:
    """Sum, element by element, of the terms whose sign is the elected one.

    With ``normalize`` the result is divided by the sum of the weights that agree. Departure: of
    their absolute values, and by 1 below 1e-8, so that weights of opposite sign cannot cancel and
    blow an element up; for weights >= 0 that is mergekit's.

    Args:
        terms: Weight x sparse task vector of each source.
        weights: Of each source, alone.
        normalize: Divide, or not.
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
