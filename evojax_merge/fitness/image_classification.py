"""Accuracy on labelled pictures, of models that see and read, or see alone."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.base import ACCURACY, PictureBatch
from evojax_merge.fitness.classification import LabelJudge
from evojax_merge.fitness.heads import frozen_head, read_head
from evojax_merge.fitness.picture_data import (
    LabelledPictures,
    class_names,
    labelled,
    read_pictures,
)
from evojax_merge.fitness.pictures import PictureProcessor
from evojax_merge.fitness.references import PictureReferences
from evojax_merge.fitness.splits import check_undivided, divide
from evojax_merge.fitness.zero_shot import TEMPLATES, prompts, tokenized
from evojax_merge.models.ability import Common
from evojax_merge.models.request import ClassifyPictures, Head, Prompts


class ImageClassificationTask:
    """Accuracy on labelled pictures.

    Classes are told apart by their names, which the text tower of each candidate reads; or by a
    linear head that all candidates share, and then no text tower runs.

    Args:
        examples: The pictures of each split.
        classes: The classes in words, in the order of their numbers.
        templates: The prompts in which the name of a class replaces ``{}``; a class is the mean of
            what the text tower makes of them.
        head: A linear head in the place of the names, see `evojax_merge.fitness.heads`.
        text: The directory or hub id of a CLIP whose text tower, which is not merged, reads the
            names once for all candidates.
        processor: The directory or hub id of the checkpoint whose image processor prepares the
            pictures; by default, the model itself.
        name: What results tables call the task.

    Raises:
        DataError: Classes, templates or the head make no sense.
    """

    measure = ACCURACY

    def __init__(
        self,
        examples: Mapping[str, LabelledPictures],
        classes: Sequence[str],
        templates: Sequence[str] = TEMPLATES,
        head: Head | None = None,
        text: str | None = None,
        processor: str | None = None,
        name: str = "image_classification",
    ) -> None:
        self.name = name
        self.current_split = "search"
        self._examples = dict(examples)
        self._classes, self._templates = list(classes), list(templates)
        self._head, self._text, self._processor = head, text, processor
        self._frozen: dict[str, Head] = {}  # shared by the splits, as the head is the same
        if head is None:
            prompts(self._classes, self._templates)
        elif text is not None:
            raise ValueError(f"{name}: give head or text, not both")
        elif len(head.weight) != len(self._classes):
            raise ValueError(
                f"{name}: the head has {len(head.weight)} classes, and the data has "
                f"{len(self._classes)} ({', '.join(self._classes[:10])}); name all of them, in the "
                "order of the head's rows, as fitness.classes"
            )

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits there is data for."""
        return tuple(self._examples)

    @property
    def examples(self) -> LabelledPictures:
        """The items of the current split."""
        return self._examples[self.current_split]

    def __len__(self) -> int:
        return len(self.examples.labels)

    def on(self, split: str) -> "ImageClassificationTask":
        """The same task on the items of another split.

        Raises:
            ValueError: There is no data for that split.
        """
        if split not in self._examples:
            raise ValueError(
                f"{self.name}: no data for the split {split!r}; there is data for "
                f"{', '.join(self._examples)}{nearest(split, self._examples)}"
            )
        task = copy.copy(self)
        task.current_split = split
        return task

    def bind(self, model: Any) -> "BoundPictures":
        """Prepare the pictures, and the prompts or the head, for models like this one.

        Raises:
            DataError: A picture cannot be read.
            ValueError: The model does not see; or it does not read, and there is no head; or the
                head is of another width.
        """
        vision = getattr(getattr(model, "config", None), "vision", None)
        if vision is None:
            raise ValueError(
                f"{self.name}: this task needs a model that can {ClassifyPictures.needs}, as CLIP "
                "or its vision tower; this one cannot"
            )
        classes = self._words_or_head(model)
        processor = PictureProcessor(self._processor or model.directory, self.name)
        size = (vision.num_channels, vision.image_size, vision.image_size)
        pictures = processor(self.examples.pictures, size)
        batch = PictureBatch(pictures, Common(processor.pixels), Common(classes))
        names = [picture.name for picture in self.examples.pictures]
        return BoundPictures(batch, self.examples.labels, names, self._classes)

    def _words_or_head(self, model: Any) -> Prompts | Head:
        head, vision = self._head, model.config.vision
        if self._text is not None:
            if self._text not in self._frozen:
                made = frozen_head(self._text, self._classes, self._templates, self.name)
                self._frozen[self._text] = made
            head = self._frozen[self._text]
            if vision.projection_dim is not None:
                head = head._replace(projection=None)
        if head is None:
            if model.config.text is None:
                raise ValueError(
                    f"{self.name}: the model has no text tower to read class names; give a head "
                    "as fitness.head, or a CLIP whose text tower reads them as fitness.text"
                )
            texts = prompts(self._classes, self._templates)
            return tokenized(texts, model, model.config.text, self.name)
        reads = (head.weight if head.projection is None else head.projection).shape[1]
        gives = vision.projection_dim or vision.hidden_size
        if reads != gives:
            raise ValueError(
                f"{self.name}: the head reads {reads} features, and the model gives {gives}"
            )
        return head


class BoundPictures(LabelJudge):
    """Pictures as one batch, and the judge of their logits."""

    request = ClassifyPictures()

    def __init__(
        self,
        batch: PictureBatch,
        labels: Int[np.ndarray, " items"],
        names: Sequence[str],
        classes: Sequence[str],
    ) -> None:
        super().__init__(labels)
        self.batches = (batch,)
        self._names, self._classes = names, classes

    def references(self) -> tuple[PictureReferences, ...]:
        """The pictures with their classes."""
        return (PictureReferences(*self.batches[0], self._labels.astype(np.int32)),)

    def take(self, rows: Int[np.ndarray, " chosen"]) -> "BoundPictures":
        """The same task on some of its items."""
        pictures, pixels, classes = self.batches[0]
        batch = PictureBatch(pictures[rows], pixels, classes)
        names = [self._names[row] for row in rows]
        return BoundPictures(batch, self._labels[rows], names, self._classes)

    def details(self, outputs: Sequence[np.ndarray], candidate: int = 0) -> list[dict[str, Any]]:
        """The picture, the predicted class, the label and the verdict of each item."""
        return [
            {
                **record,
                "picture": name,
                "answer": self._classes[record["answer"]],
                "reference": self._classes[record["reference"]],
            }
            for name, record in zip(self._names, super().details(outputs, candidate), strict=True)
        ]


def image_classification_task(
    data: str,
    validation: str | None = None,
    test: str | None = None,
    image: str = "image",
    label: str = "label",
    classes: Sequence[str] | Mapping[str, str] | None = None,
    templates: Sequence[str] = TEMPLATES,
    head: str | None = None,
    text: str | None = None,
    processor: str | None = None,
    limit: int | None = None,
    name: str = "image_classification",
    split: Sequence[float] | None = None,
    split_seed: int = 0,
) -> ImageClassificationTask:
    """An image classification task from files.

    Args:
        data: The items of the search: JSON Lines with the path and the label of a picture each, or
            a folder with a folder of pictures for each class.
        validation: The items that choose among snapshots in the same form, if any.
        test: The held-out items in the same form, if any.
        image: The field of the path of a picture, from the folder of the file.
        label: The field of its label: the name of a class, or its number from 0.
        classes: The names in the order of their numbers, or a mapping of labels to names; by
            default, the labels of the data, in alphabetical order.
        templates: The prompts in which the name of a class replaces ``{}``.
        head: The file of a head, see `evojax_merge.fitness.heads.read_head`.
        text: The directory or hub id of a CLIP whose frozen text tower reads the names.
        processor: The directory or hub id of the checkpoint whose image processor prepares the
            pictures; by default, the model itself.
        limit: How many items of each file, or of each class's folder, are used at most, the first
            ones.
        name: What results tables call the task.
        split: The shares of the items of ``data`` for the splits, in place of further files; see
            `evojax_merge.fitness.splits.divide`.
        split_seed: The seed of that division.

    Raises:
        DataError: A file is missing or malformed, or a label is no class.
        ValueError: The items cannot be divided as asked.
    """
    files = {"search": data, "validation": validation, "test": test}
    if split is None:
        check_undivided(split_seed, name)
        written = {
            part: read_pictures(path, image, label, limit)
            for part, path in files.items()
            if path is not None
        }
    else:
        whole = read_pictures(data, image, label, limit)
        contents = [picture.content + str(own).encode() for picture, own in whole]
        others = {"validation": validation, "test": test}
        written = {
            part: tuple(whole[place] for place in places)
            for part, places in divide(contents, split, split_seed, name, others).items()
        }
    numbers, names = class_names(list(written.values()), classes, name)
    return ImageClassificationTask(
        {part: labelled(items, numbers) for part, items in written.items()},
        names,
        templates,
        None if head is None else read_head(head),
        text,
        processor,
        name,
    )
