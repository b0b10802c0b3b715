"""The evidence that an operator may ask for: how each source treats a user's data.

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
"""``fisher`` is the diagonal Fisher information of every parameter. ``gram`` is, for every linear
layer, the mean of x xᵀ over the inputs x that it reads."""

LeafEvidence = Float[np.ndarray, "..."] | None
"""The evidence of one source for one leaf; None where the kind has nothing to say of the leaf."""

Evidence = Sequence[Mapping[str, Float[np.ndarray, "..."]]]
"""The evidence of each source, by leaf path."""


@dataclasses.dataclass(frozen=True)
class EvidenceRequest:
    """Evidence of one kind, over the items of one file for all sources or of one file for each.

    Attributes:
        kind: What is collected.
        data: The files: JSON Lines of texts for language models; ``.npz`` or ``.csv`` for
            classifiers.
        sha256: The hash of each file of ``data``; with None any content is taken.
        text: The field of the text whose likelihood counts, as in the perplexity task.
        template: What stands before the text, with fields in braces.
        prefix: A text that is put before everything.
        label: The array or column of a classifier's labels.
        inputs: The array of a classifier's features.
        limit: Use at most this many items of each file, the first ones.
        batch_size: How many items are on the device at once.
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
        """Make the request from an operator's arguments, where one file may be given by itself.

        Raises:
            ValueError: There is no file, there are not as many hashes as files, a field or
                template is no text, or a number of items is no such number.
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
