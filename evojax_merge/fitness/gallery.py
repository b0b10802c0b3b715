"""The pictures of a task, each prepared once, whatever number of items it is in."""

from collections.abc import Sequence
from pathlib import Path

from evojax_merge.documents.files import at_home
from evojax_merge.fitness.eyes import Eyes
from evojax_merge.fitness.picture_features import CarriedEyes
from evojax_merge.fitness.picture_fields import FixedFeatures, PictureFields, SeenTiles
from evojax_merge.fitness.pictures import Picture, PictureProcessor
from evojax_merge.operators.statistics.cache import default_directory


class Gallery:
    """The pictures of items, prepared for a model.

    Args:
        items: The pictures of each item, in the order of their places.
        eyes: What sees them.
        source: The directory or hub id of the checkpoint whose image processor prepares them.
        task: The name of the task in messages.

    Attributes:
        eyes: What sees them.
        pixels: How whole numbers become the floats that a tower reads.
        looks: What the model sees of the pictures, all different.
        shown: The pictures of each item, by their numbers.
        counts: The number of features of each picture of each item.

    Raises:
        DataError: A picture cannot be read.
        CheckpointError: The checkpoint has no image processor, or one of another model.
    """

    def __init__(
        self, items: Sequence[Sequence[Picture]], eyes: Eyes, source: str | Path, task: str
    ) -> None:
        # Seeing tiles is the model's; its processor may make some that it has no use for.
        processor = PictureProcessor(source, task, one_view=eyes.vision.whole)
        distinct = {str(picture.source): picture for own in items for picture in own}
        numbers = {source: number for number, source in enumerate(distinct)}
        self.eyes, self.pixels = eyes, processor.pixels
        self.looks = eyes.looks(processor, list(distinct.values()))
        self.shown = [[numbers[str(picture.source)] for picture in own] for own in items]
        each = [len(look.rows) for look in self.looks]
        self.counts = [[each[number] for number in own] for own in self.shown]

    def fields(
        self, lengths: Sequence[int], owners: Sequence[int], directory: str | None
    ) -> PictureFields:
        """The pictures as fields of batches.

        Args:
            lengths: The number of tokens of each row.
            owners: The item of each row.
            directory: The directory that features are kept in, ``default`` for that of statistics,
                or None to keep none.
        """
        eyes, shown = self.eyes, [self.shown[item] for item in owners]
        if not eyes.fixed or eyes.carrier is None:
            return SeenTiles(eyes, self.looks, shown, lengths, self.pixels)
        kept = None
        if directory is not None:
            kept = at_home(default_directory() if directory == "default" else directory)
        carried = CarriedEyes(eyes.carrier, self.pixels, kept)
        return FixedFeatures(eyes, self.looks, shown, lengths, carried)
