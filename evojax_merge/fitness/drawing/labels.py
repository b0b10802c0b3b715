"""Whether a drawn picture shows what it should, by a classifier."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from evojax_merge.documents.errors import shown
from evojax_merge.fitness.base import ACCURACY
from evojax_merge.fitness.data import DataError, Record
from evojax_merge.fitness.drawing.items import Item
from evojax_merge.fitness.drawing.network import Network, Networks
from evojax_merge.fitness.drawing.score import BoundScore, Score, Values
from evojax_merge.fitness.heads import read_head
from evojax_merge.fitness.picture_data import Written, class_names, labelled
from evojax_merge.fitness.pictures import Picture
from evojax_merge.fitness.zero_shot import prompts
from evojax_merge.models.clip.logits import class_features, head_logits
from evojax_merge.models.request import Head
from evojax_merge.params.types import Array


@dataclasses.dataclass(frozen=True)
class Likeliest:
    """This reader gives the number of the class with the greatest logit, by a head."""

    fields: int = 0
    columns: int = 1

    def __call__(
        self, params: Head, features: Float[Array, "rows features"], *fields: Array
    ) -> Float[Array, "rows 1"]:
        likeliest = jnp.argmax(head_logits(features, params), axis=-1, keepdims=True)
        return likeliest.astype(jnp.float32)


class Labels(Score):
    """The accuracy of a classifier on drawn pictures: whether they show what they should.

    Args:
        scorer: The directory or hub id of a CLIP.
        label: The field of the label: the name of a class, or its number from 0.
        classes: The names in the order of their numbers, or a mapping of labels to names; by
            default, the labels of the data, in alphabetical order.
        templates: The prompts in which the name of a class replaces ``{}``.
        head: The file of a head in the place of the names, see
            `evojax_merge.fitness.heads.read_head`.
        task: The name of the task in messages.

    Raises:
        DataError: The head or the templates make no sense.
    """

    measure = ACCURACY

    def __init__(
        self,
        scorer: str,
        label: str,
        classes: Sequence[str] | Mapping[str, str] | None,
        templates: Sequence[str],
        head: str | None,
        task: str,
    ) -> None:
        self._scorer, self._label, self._task = scorer, label, task
        self._given, self._templates = classes, templates
        self._head = None if head is None else read_head(head)

    def check(self, splits: Mapping[str, Sequence[Record]]) -> None:
        """Number the classes.

        Raises:
            DataError: A label is missing or no class, or there are more classes than the head has.
        """
        written = [self._written(records) for records in splits.values()]
        self._numbers, self._names = class_names(written, self._given, self._task)
        for items in written:
            labelled(items, self._numbers)
        if self._head is None:
            prompts(self._names, self._templates)
        elif len(self._head.weight) != len(self._names):
            raise DataError(
                f"{self._task}: the head has {len(self._head.weight)} classes, and the data has "
                f"{len(self._names)} ({', '.join(self._names[:10])}); name all of them, in the "
                "order of the head's rows, as fitness.classes"
            )

    def bind(self, items: Sequence[Item], networks: Networks) -> "BoundLabels":
        """Open the CLIP.

        Raises:
            CheckpointError: It is damaged.
            ValueError: It is no CLIP, or lacks the text tower, or gives other features than the
                head reads.
        """
        network = networks(self._scorer)
        if self._head is None:
            network.check_reads()
        elif self._head.weight.shape[1] != network.width:
            raise ValueError(
                f"{self._task}: the head reads {self._head.weight.shape[1]} features, and "
                f"{self._scorer} gives {network.width}"
            )
        labels = labelled(self._written([item.record for item in items]), self._numbers).labels
        return BoundLabels(network, self._names, self._templates, self._head, labels)

    def _written(self, records: Sequence[Record]) -> Written:
        found: list[tuple[Picture, str | int]] = []
        for record in records:
            label = record.field(self._label)
            if type(label) not in (str, int):
                raise DataError(
                    f"{record.place}: field {self._label!r} is {shown(label)}; give the name of a "
                    "class, or its number from 0"
                )
            found.append((Picture(record.place, record.place, Path(record.path)), label))
        return tuple(found)


class BoundLabels(BoundScore):
    """A classifier, and the classes of the items."""

    reader = Likeliest()
    worst = 0.0

    def __init__(
        self,
        network: Network,
        names: Sequence[str],
        templates: Sequence[str],
        head: Head | None,
        labels: Int[np.ndarray, " items"],
    ) -> None:
        self.network: Network = network
        self._names, self._templates, self._head = names, templates, head
        self._labels = labels

    @functools.cached_property
    def params(self) -> Head:
        """The head, that of the classes in words being computed when it is first asked for."""
        if self._head is not None:
            bias = self._head.bias
            return Head(jnp.asarray(self._head.weight), None if bias is None else jnp.asarray(bias))
        texts = prompts(self._names, self._templates)
        features = self.network.text_features([text for own in texts for text in own])
        shape = (len(texts), -1, features.shape[-1])
        return Head(class_features(jnp.asarray(features).reshape(shape)))

    def results(
        self, values: Values, rows: Int[np.ndarray, " items"]
    ) -> Float[np.ndarray, "pop items"]:
        """Return 1 where the classifier finds the class of the item, and 0 elsewhere."""
        return (values[..., 0] == self._labels[rows]).astype(np.float64)

    def record(self, values: Float[np.ndarray, " columns"], row: int) -> dict[str, Any]:
        """Return the class that is found, and that of the item."""
        known = np.isfinite(values[0])
        answer = self._names[int(values[0])] if known else None
        return {"answer": answer, "reference": self._names[int(self._labels[row])]}
