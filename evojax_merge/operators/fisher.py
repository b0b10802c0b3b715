"""Fisher-weighted averaging (Matena and Raffel, 2021), https://arxiv.org/abs/2111.09832"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import check_number
from evojax_merge.operators.base import Coefficients, Leaf, LeafKey, Operator, Source, spread
from evojax_merge.operators.evidence import EvidenceRequest, LeafEvidence
from evojax_merge.operators.steps.shares import average, from_first, shares
from evojax_merge.params.types import Array, Float


def fisher(
    data: str | Sequence[str],
    sha256: str | Sequence[str] | None = None,
    text: str = "text",
    template: str = "",
    prefix: str = "",
    label: str = "label",
    inputs: str = "inputs",
    limit: int | None = None,
    batch_size: int = 8,
    floor: float = 1e-6,
) -> Operator:
    """The sum of weight x F x source over the sum of weight x F, element by element.

    F is the diagonal of a source's Fisher information: the mean over the items of ``data`` of the
    squared gradient of an item's log-likelihood. The coefficient of each source is ``weight``,
    which is at least 0, usually up to 1, and starts at 0.5. Only the proportions count, and all
    zero is all equal. The Fishers cost one float32 tree the size of the model for each source,
    which is read with it for every candidate.

    References:
        Matena and Raffel, Merging models with Fisher-weighted averaging, arXiv 2111.09832, eq. 3.
        Departures: the Fisher is the empirical one, at the labels and texts of the data, instead
        of its expectation under the model; the floor is relative, so that the units of the
        likelihood do not matter, where the authors' code has an absolute 1e-6.

    Args:
        data: Items that all sources are measured on, or one file for each source (the paper's way:
            the data it was trained on). `EvidenceRequest` says more of this and the next eight.
        sha256: The hash of each file; another content is refused. Recipes hold it.
        text: The field of the text whose log-likelihood counts.
        template: What stands before the text.
        prefix: A text that is put before everything.
        label: The array or column of a classifier's labels.
        inputs: The array of a classifier's features.
        limit: How many items of each file are used at most.
        batch_size: How many items are on the device at once.
        floor: F is at least this share of its mean over the tensor and the sources. Where no
            source has any, the sources are averaged.

    Raises:
        ValueError: The floor is not above 0, or `EvidenceRequest.of` refuses the other arguments.
    """
    check_number("fisher: floor", floor)
    if not floor > 0:
        raise ValueError(f"fisher: floor must be a number above 0, not {floor}")
    request = EvidenceRequest.of(
        "fisher", data, sha256, text, template, prefix, label, inputs, limit, batch_size
    )

    def init(
        base: Leaf | None,
        sources: tuple[Source, ...],
        layered: bool,
        evidence: tuple[LeafEvidence, ...],
    ) -> tuple[Any, ...]:
        """Divide the Fishers by their mean and floor them: numbers around 1, none of which is 0."""
        inner = tuple(range(int(layered), len(sources[0].shape)))
        values = [np.asarray(one, np.float32) for one in evidence]
        mean = sum(np.mean(v, axis=inner, keepdims=True, dtype=np.float64) for v in values)
        mean = np.where(mean > 0, mean, 1.0) / len(values)
        return tuple(np.maximum(v / mean, floor).astype(np.float32) for v in values)

    def merge(
        base: Leaf | None,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: tuple[Any, ...],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        weighed = [
            spread(share, importance.ndim) * importance
            for share, importance in zip(shares(coefficients), statistics, strict=True)
        ]
        total = sum(weighed[1:], weighed[0])
        first, added = from_first(sources)
        terms = [weight * leaf for weight, leaf in zip(weighed[1:], added, strict=True)]
        return first + sum(terms, jnp.zeros(())) / total

    return average("fisher", init, merge, request)
