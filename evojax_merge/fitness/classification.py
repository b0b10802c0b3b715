"""Accuracy of a classifier on feature vectors."""

import copy
import csv
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int

from evojax_merge.documents.arguments import check_text, check_whole
from evojax_merge.documents.errors import DocumentError, named
from evojax_merge.documents.files import at_home, open_regular
from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.base import ACCURACY, ClassifyBatch
from evojax_merge.fitness.data import DataError
from evojax_merge.fitness.references import ClassReferences
from evojax_merge.fitness.splits import check_undivided, divide
from evojax_merge.models.request import Classify


class Examples(NamedTuple):
    """Feature vectors and their classes."""

    inputs: Float32[np.ndarray, "items features"]
    labels: Int[np.ndarray, " items"]


class ClassificationTask:
    """Accuracy on labelled feature vectors.

    Args:
        examples: The examples of each split.
        current_split: The split whose items are measured.
        name: What results tables call the task.
    """

    measure = ACCURACY

    def __init__(
        self,
        examples: Mapping[str, Examples],
        current_split: str = "search",
        name: str = "classification",
    ) -> None:
        self.name = name
        self._examples = dict(examples)
        self.current_split = self._require(current_split)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits there is data for."""
        return tuple(self._examples)

    @property
    def examples(self) -> Examples:
        """The items of the current split."""
        return self._examples[self.current_split]

    def __len__(self) -> int:
        return len(self.examples.labels)

    def on(self, split: str) -> "ClassificationTask":
        """The same task on the items of another split.

        Raises:
            ValueError: There is no data for that split.
        """
        task = copy.copy(self)
        task.current_split = self._require(split)
        return task

    def bind(self, model: Any) -> "BoundClassification":
        """Make a batch for models like this one.

        Raises:
            ValueError: The model is no classifier of as many features and classes.
        """
        widths = getattr(getattr(model, "config", None), "hidden_sizes", None)
        if not widths:
            raise ValueError(f"{self.name}: this task needs a classifier, and the model is none")
        features, labels = self.examples.inputs.shape[1], self.examples.labels
        if widths[0] != features:
            raise ValueError(
                f"{self.name}: the data has {features} features, and the model takes {widths[0]}"
            )
        if labels.max() >= widths[-1]:
            raise ValueError(
                f"{self.name}: the data has class {labels.max()}, and the model's classes end at "
                f"{widths[-1] - 1}"
            )
        return BoundClassification(self.examples)

    def _require(self, split: str) -> str:
        if split not in self._examples:
            raise ValueError(
                f"{self.name}: no data for the split {split!r}; there is data for "
                f"{', '.join(self._examples)}{nearest(split, self._examples)}"
            )
        return split


class LabelJudge:
    """Compares the greatest logit of each item with its label.

    Args:
        labels: The labels of the items, numbers from 0.
    """

    def __init__(self, labels: Int[np.ndarray, " items"]) -> None:
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    def score(
        self, outputs: Sequence[Float[np.ndarray, "pop items classes"]]
    ) -> Float32[np.ndarray, "pop items"]:
        """1 where the largest logit is the label's, 0 elsewhere, NaN where a logit is NaN."""
        (logits,) = map(np.asarray, outputs)
        right = (logits.argmax(-1) == self._labels).astype(np.float32)
        return np.where(np.isnan(logits).any(-1), np.float32(np.nan), right)

    def details(
        self, outputs: Sequence[Float[np.ndarray, "pop items classes"]], candidate: int = 0
    ) -> list[dict[str, Any]]:
        """Predicted class, label and verdict of each item."""
        predicted = np.asarray(outputs[0])[candidate].argmax(-1)
        return [
            {
                "item": item,
                "answer": int(answer),
                "reference": int(label),
                "right": bool(answer == label),
            }
            for item, (answer, label) in enumerate(zip(predicted, self._labels, strict=True))
        ]


class BoundClassification(LabelJudge):
    """Feature vectors as one batch, and the judge of their logits."""

    request = Classify()

    def __init__(self, examples: Examples) -> None:
        super().__init__(examples.labels)
        self.batches = (ClassifyBatch(examples.inputs),)

    def references(self) -> tuple[ClassReferences, ...]:
        """The feature vectors with their classes."""
        return (ClassReferences(self.batches[0].inputs, self._labels.astype(np.int32)),)

    def take(self, rows: Int[np.ndarray, " chosen"]) -> "BoundClassification":
        """The same task on some of its items."""
        return BoundClassification(Examples(self.batches[0].inputs[rows], self._labels[rows]))


def classification_task(
    data: str,
    validation: str | None = None,
    test: str | None = None,
    label: str = "label",
    inputs: str = "inputs",
    limit: int | None = None,
    name: str = "classification",
    split: Sequence[float] | None = None,
    split_seed: int = 0,
) -> ClassificationTask:
    """A classification task from files.

    Args:
        data: The file of the items of the search: ``.npz`` with arrays of features [items, …] and
            labels [items], or ``.csv`` with a header, a column of labels and features elsewhere.
        validation: Such a file of the items that choose among snapshots, if any.
        test: Such a file of the held-out items, if any.
        label: The array or column of the labels, integers from 0.
        inputs: The array of the features in ``.npz``.
        limit: How many items of each file are used at most, the first ones.
        name: What results tables call the task.
        split: The shares of the items of ``data`` for the splits, in place of further files; see
            `evojax_merge.fitness.splits.divide`.
        split_seed: The seed of that division.

    Raises:
        DataError: A file is missing or malformed.
        ValueError: The file cannot be divided as asked.
    """
    if split is not None:
        whole = read_examples(data, label, inputs, limit)
        rows = zip(whole.inputs, whole.labels, strict=True)
        contents = [features.tobytes() + own.tobytes() for features, own in rows]
        files = {"validation": validation, "test": test}
        divided = divide(contents, split, split_seed, name, files)
        return ClassificationTask(
            {
                part: Examples(whole.inputs[places], whole.labels[places])
                for part, places in divided.items()
            },
            name=name,
        )
    check_undivided(split_seed, name)
    paths = {"search": data, "validation": validation, "test": test}
    examples = {
        split: read_examples(path, label, inputs, limit)
        for split, path in paths.items()
        if path is not None
    }
    return ClassificationTask(examples, name=name)


def read_examples(
    path: str, label: str = "label", inputs: str = "inputs", limit: int | None = None
) -> Examples:
    """Read labelled feature vectors from ``.npz`` or ``.csv`` (see `classification_task`).

    Raises:
        DataError: The file is missing or malformed.
    """
    check_text("label", label)
    check_text("inputs", inputs)
    if limit is not None:
        check_whole("limit", limit, 1)
    try:
        file = at_home(check_text("data", path, empty=False))
        open_regular(file).close()
    except DocumentError as error:
        raise DataError(f"{path}: {error}") from None
    readers = {".npz": _read_npz, ".csv": _read_csv}
    if file.suffix not in readers:
        raise DataError(f"{path}: neither .npz nor .csv")
    features, labels = readers[file.suffix](file, label, inputs)
    for name, array in ((inputs, features), (label, labels)):
        if array.dtype.kind not in "biuf" or array.ndim == 0:
            raise DataError(f"{path}: {named(name)} holds {array.dtype}; give rows of numbers")
    if len(labels) == 0 or len(labels) != len(features):
        raise DataError(f"{path}: {len(features)} rows of features and {len(labels)} labels")
    with np.errstate(invalid="ignore", over="ignore"):
        flat = features.reshape(len(features), -1).astype(np.float32)
        classes = labels.astype(np.int64)
    if not np.isfinite(flat).all():
        raise DataError(f"{path}: a feature is not finite in float32")
    if labels.ndim != 1 or (labels != classes).any() or classes.min() < 0:
        raise DataError(f"{path}: labels must be integers from 0")
    return Examples(flat[:limit], classes[:limit])


_LARGEST_ARRAYS = 2 * 2**30
"""The most bytes of the arrays of a file; a small file can stand for large arrays."""


def _read_npz(file: Path, label: str, inputs: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        with zipfile.ZipFile(file) as members:
            size = sum(member.file_size for member in members.infolist())
        if size > _LARGEST_ARRAYS:
            raise DataError(f"{file}: its arrays have {size / 2**30:.1f} GiB; divide the file")
        with np.load(file, allow_pickle=False) as arrays:
            missing = [name for name in (inputs, label) if name not in arrays]
            if missing:
                raise DataError(
                    f"{file}: no array {missing[0]!r}; the arrays are {', '.join(arrays)}"
                    f"{nearest(missing[0], arrays)}"
                )
            return arrays[inputs], arrays[label]
    except DataError:
        raise
    except (*_UNREADABLE, MemoryError) as error:  # of arrays whose headers say what is not there
        raise DataError(f"{file}: not a readable .npz file: {error}") from error


_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    SyntaxError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
)
"""What NumPy and the standard library raise for a damaged archive."""


def _read_csv(file: Path, label: str, inputs: str) -> tuple[np.ndarray, np.ndarray]:
    del inputs  # In a table the features are the columns that are not the label.
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines)
        try:
            header, values = _table(rows, file, label)
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{file}, line {rows.line_num + 1}: {error}") from error
    table = np.array(values).reshape(-1, len(header))
    at = header.index(label)
    return np.delete(table, at, axis=1), table[:, at]


def _table(rows: Any, file: Path, label: str) -> tuple[list[str], list[list[float]]]:
    """The names of the columns, and the numbers below."""
    header: list[str] = next(rows, [])
    if header.count(label) != 1:
        problem = "two columns" if label in header else "no column"
        raise DataError(
            f"{file}, line 1: {problem} {label!r}; the columns are "
            f"{', '.join(map(named, header[:99]))}{nearest(label, header[:99])}"
        )
    values = []
    for row in rows:
        if len(row) != len(header):
            raise DataError(
                f"{file}, line {rows.line_num}: {len(row)} values under {len(header)} columns"
            )
        try:
            values.append([float(value) for value in row])
        except ValueError as error:
            raise DataError(f"{file}, line {rows.line_num}: {error}") from error
    return header, values
