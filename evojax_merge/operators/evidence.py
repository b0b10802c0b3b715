"""What an operator may ask to know of how each source treats a user's data.

Only the request is made here; `evojax_merge.evidence` collects what it asks for.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from evojax_merge.types import Float

Kind = Literal["fisher", "gram"]
"""``fisher``: the diagonal Fisher information of every parameter. ``gram``: of every linear layer
the mean of x xᵀ over the inputs x it reads."""

LeafEvidence = Float[np.ndarray, "..."] | None
"""Of one source and one leaf; None where the kind has nothing to say of the leaf."""

Evidence = Sequence[Mapping[str, Float[np.ndarray, "..."]]]
"""Of each source, by leaf path."""


@dataclasses.dataclass(frozen=True)
class EvidenceRequest:
    """Evidence of one kind, over the items of one file for all sources, or of one for each.

    Attributes:
        kind: What is collected.
        data: JSON Lines of texts for language models; ``.npz`` or ``.csv`` for classifiers.
        sha256: Of each file of ``data``; None: whatever is in it.
        text: Field of the text whose likelihood counts, as in the perplexity task.
        template: What stands before the text, with fields in braces.
        prefix: Put before everything.
        label: Array or column of a classifier's labels.
        inputs: Array of a classifier's features.
        limit: Use at most this many items of each file, the first ones.
        batch_size: Items on the device at once.
    """

    kind: Kind
    data: tuple[str, ...]
    sha256: tuple[str, ...] | None = None
    text: str = "text"
    template: str = ""
    prefix: str = ""
    label: str = "label"
    inputs: str = "inputs"
    limit: int | None = None
    batch_size: int = 8

    @classmethod
    def of(
        cls,
        kind: Kind,
        data: Any,
        sha256: Any,
        text: str,
        template: str,
        prefix: str,
        label: str,
        inputs: str,
        limit: int | None,
        batch_size: int,
    ) -> "EvidenceRequest":
        """The request of an operator's arguments, where one file may be given by itself.

        Raises:
            ValueError: No file, not as many hashes as files, or a batch of no items.
        """
        files, hashes = _tuple(data), _tuple(sha256)
        if not files or not all(files):
            raise ValueError("operator.data is empty; give a file of items, or one for each source")
        if hashes is not None and len(hashes) != len(files):
            raise ValueError(
                f"operator.sha256 holds {len(hashes)} hashes, operator.data {len(files)} files"
            )
        if batch_size < 1:
            raise ValueError(f"operator.batch_size must be at least 1 item, not {batch_size}")
        return cls(kind, files, hashes, text, template, prefix, label, inputs, limit, batch_size)


def _tuple(values: Any) -> tuple[str, ...] | None:
    if values is None:
        return None
    return (values,) if isinstance(values, str) else tuple(str(value) for value in values)
