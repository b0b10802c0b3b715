"""What tasks share whose items may have pictures."""

import dataclasses
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, Literal

from evojax_merge.documents.arguments import check_option, check_text
from evojax_merge.fitness.data import Record
from evojax_merge.fitness.eyes import Eyes
from evojax_merge.fitness.gallery import Gallery
from evojax_merge.fitness.likelihood import Likelihood
from evojax_merge.fitness.picture_fields import PictureFields
from evojax_merge.fitness.picture_paths import pictures_of
from evojax_merge.fitness.picture_prompts import check_places, expanded
from evojax_merge.fitness.pictures import Picture
from evojax_merge.fitness.prompted import PromptedTask


@dataclasses.dataclass(kw_only=True)
class SeeingTask(PromptedTask):
    """Items that may have pictures.

    Attributes:
        image: The field of the path of a picture from the directory of the file, or of a list of
            such paths; None where items have no pictures. Prompts have ``<image>`` in the place of
            each picture.
        views: How pictures are seen: ``auto`` as the model's configuration says, or ``one``, whole
            and once, as LLaVA-1.5 does, also by a model that sees tiles.
        processor: The directory or hub id of the checkpoint whose image processor prepares the
            pictures; by default, that of the model.
        keep_features: The directory that features of pictures are kept in, ``default`` for that of
            statistics, or None to keep none.
    """

    image: str | None = None
    views: Literal["auto", "one"] = "auto"
    processor: str | None = None
    keep_features: str | None = "default"

    def __post_init__(self) -> None:
        check_option(f"{self.name}: views", self.views, ("auto", "one"))
        if self.image is not None:
            check_text(f"{self.name}: image", self.image, empty=False)
        super().__post_init__()

    def pictures_of(self, record: Record) -> tuple[Picture, ...]:
        """The pictures of an item, in the order of the places."""
        return () if self.image is None else pictures_of(record, self.image)

    def asked(self, record: Record) -> Hashable:
        """What is the same for an item and an example that ask the same about the same pictures."""
        files = (
            () if self.image is None else tuple(str(one.source) for one in self.pictures_of(record))
        )
        return super().asked(record), files

    def check_example(self, example: Record) -> None:
        """Raise if an example cannot be written, or lacks a picture."""
        super().check_example(example)
        self.check_pictures(example, self.own_text(example))

    def check_pictures(self, record: Record, prompt: str) -> None:
        """Check that an item has pictures, and its prompt a place for each.

        Raises:
            DataError: It has not, or a picture is not there.
        """
        if self.image is not None:
            check_places(record, prompt, len(self.pictures_of(record)))

    def seen_by(self, model: Any) -> "Sights | None":
        """Prepare the pictures for models like this one, if items have pictures.

        Raises:
            DataError: A picture cannot be read.
            CheckpointError: The checkpoint has no image processor, or one of another model.
            ValueError: The model does not see.
        """
        if self.image is None:
            return None
        eyes = Eyes.of(model, self.views == "one", self.name)
        before = [one for example in self.examples for one in self.pictures_of(example)]
        pictures = [(*before, *self.pictures_of(record)) for record in self.records]
        whole: Path = (eyes.carrier or model).directory
        gallery = Gallery(pictures, eyes, self.processor or whole, self.name)
        return Sights(gallery, self.records, self.keep_features, whole)


class Sights:
    """The pictures of a task's items, prepared for a model.

    Args:
        gallery: The pictures.
        records: The items.
        kept_in: Where features are kept, see `SeeingTask`.
        directory: The directory of the whole model, which says how pictures enter a prompt.

    Attributes:
        token_id: The token in whose place a feature of a picture stands.
        place: The tokens that stand for a picture in a prompt.
        directory: The directory of the whole model.
    """

    def __init__(
        self,
        gallery: Gallery,
        records: Sequence[Record],
        kept_in: str | None,
        directory: Path,
    ) -> None:
        self.token_id, self.place = gallery.eyes.vision.token_id, gallery.eyes.vision.place
        self.directory = directory
        self._gallery, self._records, self._kept_in = gallery, records, kept_in

    def expanded(self, item: int, ids: Sequence[int]) -> list[int]:
        """The tokens of an item's prompt, with a picture token for each feature of its pictures.

        Raises:
            DataError: There are fewer or more picture tokens than pictures.
        """
        counts, place = self._gallery.counts[item], self._records[item].place
        return expanded(ids, self.token_id, counts, place)

    def pairs(
        self, owners: Sequence[int], pairs: Sequence[tuple[Sequence[int], int]]
    ) -> list[tuple[list[int], int]]:
        """Expand rows of text, and the number of their tokens that are context, which has pictures.

        Args:
            owners: The item of each row.
            pairs: The tokens of each row, and how many of them are context.

        Raises:
            DataError: There are fewer or more picture tokens than pictures.
        """
        whole = [self.expanded(item, ids) for item, (ids, _) in zip(owners, pairs, strict=True)]
        return [
            (ids, known + len(ids) - len(before))
            for ids, (before, known) in zip(whole, pairs, strict=True)
        ]

    def fields(self, lengths: Sequence[int], owners: Sequence[int]) -> PictureFields:
        """The pictures as fields of batches.

        Args:
            lengths: The number of tokens of each row.
            owners: The item of each row.
        """
        return self._gallery.fields(lengths, owners, self._kept_in)


def seen_likelihood(
    rows: Sequence[tuple[Sequence[int], int]],
    owners: Sequence[int],
    pad: int,
    buckets: int,
    sights: Sights | None,
) -> Likelihood:
    """Rows whose last tokens are scored, with the pictures of the items that they belong to."""
    if sights is None:
        return Likelihood(rows, pad, buckets)
    fields = sights.fields([len(ids) for ids, _ in rows], owners)
    return Likelihood(rows, pad, buckets, (fields, sights.token_id))
