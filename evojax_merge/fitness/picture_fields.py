"""The pictures of prompts as fields of batches."""

import abc
import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from evojax_merge.fitness.eyes import Eyes
from evojax_merge.fitness.picture_features import CarriedEyes
from evojax_merge.fitness.pictures import Views
from evojax_merge.models.ability import Common
from evojax_merge.models.llava.pictures import gather_index
from evojax_merge.models.request import Pixels, Sight


@dataclasses.dataclass
class PictureFields(abc.ABC):
    """The pictures of rows of text.

    Fields of batches of one length have one shape, whichever rows are in them.

    Attributes:
        eyes: What sees them.
        pictures: The pictures, all different.
        shown: The pictures of each row, by their numbers.
        lengths: The number of tokens of each row.
    """

    eyes: Eyes
    pictures: Sequence[Views]
    shown: Sequence[Sequence[int]]
    lengths: Sequence[int]

    @abc.abstractmethod
    def fields(self, rows: Int[np.ndarray, " batch"], length: int) -> tuple[Any, ...]:
        """The fields of a batch.

        Args:
            rows: The rows of the batch.
            length: Their padded length.
        """

    @functools.cached_property
    def _index(self) -> list[Int[np.ndarray, " slots"]]:
        """The index of each feature of each row."""
        return [self._index_of(own) for own in self.shown]

    def _index_of(self, own: Sequence[int]) -> Int[np.ndarray, " slots"]:
        tiles, found = 0, []
        for number in own:
            views = self.pictures[number]
            found.append(gather_index(self.eyes.pictures, views.size, tiles))
            tiles += len(views.pixels)
        return np.concatenate(found)

    def _room(self, counts: Sequence[int], length: int) -> int:
        """The most of something that a row has which is not longer than that."""
        return int(np.asarray(counts)[np.asarray(self.lengths) <= length].max())

    def _slots(self, length: int) -> int:
        return self._room([len(index) for index in self._index], length)


@dataclasses.dataclass
class FixedFeatures(PictureFields):
    """Features that are the same for all candidates.

    They are computed when fields are first asked for, which is after everything is checked.

    Attributes:
        carried: The tower and the projector.
    """

    carried: CarriedEyes

    def fields(self, rows: Int[np.ndarray, " batch"], length: int) -> tuple[Any, ...]:
        tiles, newline = self._features
        width, dtype = tiles[0].shape[-1], tiles[0].dtype
        features = np.zeros((len(rows), self._slots(length), width), dtype)
        for own, row in zip(features, rows, strict=True):
            seen = [tiles[number].reshape(-1, width) for number in self.shown[row]]
            if newline is not None:
                seen.append(newline[None].astype(dtype))  # the index of a newline is -1
            own[: len(self._index[row])] = np.concatenate(seen)[self._index[row]]
        return (features,)

    @functools.cached_property
    def _features(self) -> tuple[list[np.ndarray], np.ndarray | None]:
        return self.carried([views.pixels for views in self.pictures])


@dataclasses.dataclass
class SeenTiles(PictureFields):
    """Tiles that each candidate sees by itself.

    Attributes:
        pixels: How whole numbers become the floats that a tower reads.
    """

    pixels: Pixels

    def fields(self, rows: Int[np.ndarray, " batch"], length: int) -> tuple[Any, ...]:
        counts = [sum(len(self.pictures[one].pixels) for one in own) for own in self.shown]
        shape = self.pictures[0].pixels.shape[1:]
        tiles = np.zeros((len(rows), self._room(counts, length), *shape), np.uint8)
        index = np.zeros((len(rows), self._slots(length)), np.int32)
        for place, row in enumerate(rows):
            own = [self.pictures[number].pixels for number in self.shown[row]]
            tiles[place, : counts[row]] = np.concatenate(own)
            index[place, : len(self._index[row])] = self._index[row]
        return tiles, index, self._sight

    @functools.cached_property
    def _sight(self) -> Common:
        return Common(Sight(self.pixels, self.eyes.others()))
