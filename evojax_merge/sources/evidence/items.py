"""The data that evidence is collected on: read, checked, and laid out in batches of few shapes."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Shaped

from evojax_merge.documents import files
from evojax_merge.fitness.classification import read_examples
from evojax_merge.fitness.data import DataError, Record
from evojax_merge.fitness.encoder import Encoder
from evojax_merge.fitness.formats import read_data
from evojax_merge.fitness.likelihood import Likelihood
from evojax_merge.fitness.text import fill
from evojax_merge.models import Family
from evojax_merge.models.request import Classify, Loglikelihood, Request
from evojax_merge.operators.evidence import EvidenceRequest

_NAME = "evidence"
_BUCKETS = 3


class ItemBatch(NamedTuple):
    """Items of one shape.

    Attributes:
        fields: What the log-likelihood of an item takes after the parameters, one row an item:
            tokens, start and target of a sequence, or features and label.
        real: A number for each row: 1, or 0 for rows that only fill the batch.
    """

    fields: tuple[Shaped[np.ndarray, "batch ..."], ...]
    real: Float32[np.ndarray, " batch"]


@dataclasses.dataclass(frozen=True)
class Items:
    """The items of one file, as models of one kind take them.

    Attributes:
        path: The file.
        file_sha256: The hash of the file's bytes.
        items_sha256: The hash of what the models are given, which depends on tokenizer, template
            and limit.
        count: The number of items.
        arrays: The fields of all items of each shape (see `ItemBatch`).
        batch_size: How many items a batch has.
    """

    path: str
    file_sha256: str
    items_sha256: str
    count: int
    arrays: tuple[tuple[np.ndarray, ...], ...]
    batch_size: int

    def batches(self) -> Iterator[ItemBatch]:
        """All items in batches; the last batch of a shape is filled up with its last item."""
        for arrays in self.arrays:
            count = len(arrays[0])
            size = min(self.batch_size, count)
            for first in range(0, count, size):
                rows = np.arange(first, first + size)
                real = (rows < count).astype(np.float32)
                rows = np.minimum(rows, count - 1)
                yield ItemBatch(tuple(array[rows] for array in arrays), real)


def read_items(request: EvidenceRequest, path: str, sha256: str | None, model: Any) -> Items:
    """Read a file for models like this one.

    Args:
        request: The request, which says how the file's items are read.
        path: The file.
        sha256: What the file must hash to, if not None.
        model: Anything with ``family``, ``tokenizer`` and ``config``.

    Raises:
        DataError: The file is missing, empty, malformed or another than ``sha256`` says.
        ValueError: An item does not fit the models.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"{path}: {'not a file' if file.exists() else 'no such file'}")
    found = files.sha256(file)
    if sha256 is not None and found != sha256:
        raise DataError(
            f"{path}: is not the data that the recipe was made with (its sha256 is {found[:12]}…, "
            f"not {sha256[:12]}…); bring that file back, or evolve anew"
        )
    read = _READ[labelled(model.family)]
    arrays, digest, count = read(request, path, model)
    return Items(str(path), found, digest, count, arrays, request.batch_size)


def pinned(items: Sequence[Items]) -> dict[str, Any]:
    """The arguments of an operator that name its data, wherever and whenever it is applied."""
    if not items:
        return {}
    distinct = items if len({one.path for one in items}) > 1 else items[:1]
    paths = [str(Path(one.path).expanduser().absolute()) for one in distinct]
    hashes = [one.file_sha256 for one in distinct]
    one = len(distinct) == 1
    return {"data": paths[0] if one else paths, "sha256": hashes[0] if one else hashes}


def labelled(family: Family) -> type[Request]:
    """The kind of request whose labelled items evidence of a family is collected on.

    Raises:
        ValueError: The family's models take no such request, or consist of parts.
    """
    for kind in _READ:
        if kind in family.abilities:
            if family.parts is not None:
                raise ValueError(
                    f"evidence is collected on texts, which only the language model of a "
                    f"{family.name} reads; merge model.parts=[language_model] with {_WAY_OUT}"
                )
            return kind
    raise ValueError(
        f"evidence is collected of models that can {' or '.join(k.needs for k in _READ)}, and "
        f"models of the family {family.name} cannot"
    )


_PICTURE = "image"
_WAY_OUT = "texts as operator.data, or use an operator that needs no data, as dare_ties"

_Read = tuple[tuple[tuple[np.ndarray, ...], ...], str, int]


def _texts(request: EvidenceRequest, path: str, model: Any) -> _Read:
    records = read_data(path, request.limit)
    for record in records:
        if getattr(model, "carrier", None) is not None and _PICTURE in record.fields:
            raise DataError(
                f"{record.place}: has a field {_PICTURE!r}, and evidence is collected on texts "
                f"alone; give {_WAY_OUT}"
            )
    encoder = Encoder(model, _NAME)
    contexts = [request.prefix + fill(request.template, record) for record in records]
    rows = encoder.pair(contexts, [_text(record, request.text) for record in records])
    digest = hashlib.sha256()
    for record, (ids, known) in zip(records, rows, strict=True):
        encoder.require_context(len(ids), f"{record.place}: the text", "shorten it or leave it out")
        digest.update(np.array([len(ids), known, *ids], np.int64).tobytes())
    batches = Likelihood(rows, encoder.pad, _BUCKETS).text
    return tuple(tuple(batch) for batch in batches), digest.hexdigest(), len(records)


def _text(record: Record, field: str) -> str:
    text = record.field(field)
    if not isinstance(text, str) or not text:
        raise DataError(
            f"{record.place}: field {field!r} must be a text that is not empty; it is {text!r}"
        )
    return text


def _examples(request: EvidenceRequest, path: str, model: Any) -> _Read:
    inputs, labels = read_examples(path, request.label, request.inputs, request.limit)
    features, *_, classes = model.config.hidden_sizes
    if inputs.shape[1] != features:
        raise DataError(
            f"{path}: the data has {inputs.shape[1]} features, and the models take {features}"
        )
    if labels.max() >= classes:
        raise DataError(
            f"{path}: the data has class {labels.max()}, and the models' classes end at "
            f"{classes - 1}"
        )
    digest = hashlib.sha256(inputs.tobytes() + labels.tobytes()).hexdigest()
    return ((inputs, labels.astype(np.int32)),), digest, len(labels)


_READ: dict[type[Request], Callable[[EvidenceRequest, str, Any], _Read]] = {
    Loglikelihood: _texts,
    Classify: _examples,
}
