"""What an operator may ask to know of how each source treats a user's data.

Only the request is made here; `evojax_merge.sources.evidence` collects what it asks for.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal

import numpy as np

from evojax_merge.documents.arguments import check_whole
from evojax_merge.params.types import Float

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
            ValueError: No file, not as many hashes as files, a field or template that is no text,
                or a number of items that is none.
        """
        files, hashes = _tuple("data", data), _tuple("sha256", sha256)
        fields = {"text": text, "template": template, "prefix": prefix, "label": label}
        for name, given in (fields | {"inputs": inputs}).items():
            if not isinstance(given, str):
                raise ValueError(f"operator.{name} is {given!r}; give text")
        if not files or not all(files):
            raise ValueError("operator.data is empty; give a file of items, or one for each source")
        if hashes is not None and len(hashes) != len(files):
            raise ValueError(
                f"operator.sha256 holds {len(hashes)} hashes, operator.data {len(files)} files"
            )
        check_whole("operator.batch_size", batch_size, 1)
        if limit is not None:
            check_whole("operator.limit", limit, 1)
        return cls(kind, files, hashes, text, template, prefix, label, inputs, limit, batch_size)


def _tuple(name: str, values: Any) -> tuple[str, ...] | None:
    if values is None:
        return None
    if isinstance(values, str | PathLike):
        return (str(values),)
    if not isinstance(values, Sequence):
        raise ValueError(f"operator.{name} is {values!r}; give a file, or a list of one a source")
    return tuple(str(value) for value in values)
