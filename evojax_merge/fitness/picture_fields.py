"""The pictures of prompts as fields of batches."""

import abc
import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from evojax_merge.fitness.eyes import Eyes
from evojax_merge.fitness.picture_features import CarriedEyes
from evojax_merge.models.ability import Common
from evojax_merge.models.request import Pixels, Sight
from evojax_merge.models.seeing.vision import EXTRA, Look
from evojax_merge.params.abstract import is_abstract


@dataclasses.dataclass
class PictureFields(abc.ABC):
    """The pictures of rows of text.

    Fields of batches of one length have one shape, whichever rows are in them.

    Attributes:
        eyes: What sees them.
        looks: What is seen of the pictures, all different.
        shown: The pictures of each row, by their numbers.
        lengths: The number of tokens of each row.
    """

    eyes: Eyes
    looks: Sequence[Look]
    shown: Sequence[Sequence[int]]
    lengths: Sequence[int]

    def fields(self, rows: Int[np.ndarray, " batch"], length: int) -> tuple[Any, ...]:
        """The fields of a batch.

        Args:
            rows: The rows of the batch.
            length: Their padded length.
        """
        seen = self._seen(rows, length)
        return (*seen, self._shifts(rows, length)) if self.eyes.vision.shifted else seen

    @abc.abstractmethod
    def _seen(self, rows: Int[np.ndarray, " batch"], length: int) -> tuple[Any, ...]:
        """The fields that say what is seen."""

    def _shifts(
        self, rows: Int[np.ndarray, " batch"], length: int
    ) -> Int[np.ndarray, "batch slots axes"]:
        """How much further the positions of features are than their places in the rows."""
        found = [_shift_of([self.looks[number] for number in self.shown[row]]) for row in rows]
        slots = self._slots(length)
        return np.stack([np.pad(one, ((0, slots - len(one)), (0, 0)), "edge") for one in found])

    @functools.cached_property
    def _index(self) -> list[Int[np.ndarray, " slots"]]:
        """The index of each feature of each row."""
        return [self._index_of(own) for own in self.shown]

    def _index_of(self, own: Sequence[int]) -> Int[np.ndarray, " slots"]:
        before, found = 0, []
        for number in own:
            tiles, index, _ = self.looks[number]
            found.append(np.where(index == EXTRA, index, index + before))
            before += len(tiles[0]) * self.eyes.vision.positions
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

    def _seen(self, rows: Int[np.ndarray, " batch"], length: int) -> tuple[Any, ...]:
        tiles, extra = self._features
        width, dtype = tiles[0].shape[-1], tiles[0].dtype
        if is_abstract(tiles):
            return (jax.ShapeDtypeStruct((len(rows), self._slots(length), width), dtype),)
        features = np.zeros((len(rows), self._slots(length), width), dtype)
        for own, row in zip(features, rows, strict=True):
            seen = [tiles[number].reshape(-1, width) for number in self.shown[row]]
            if extra is not None:
                seen.append(extra[None].astype(dtype))  # its index is -1
            own[: len(self._index[row])] = np.concatenate(seen)[self._index[row]]
        return (features,)

    @functools.cached_property
    def _features(self) -> tuple[list[np.ndarray], np.ndarray | None]:
        return self.carried([look.tiles for look in self.looks])


@dataclasses.dataclass
class SeenTiles(PictureFields):
    """Tiles that each candidate sees by itself.

    Attributes:
        pixels: How whole numbers become the floats that a tower reads.
    """

    pixels: Pixels

    def _seen(self, rows: Int[np.ndarray, " batch"], length: int) -> tuple[Any, ...]:
        counts = [sum(len(self.looks[one].tiles[0]) for one in own) for own in self.shown]
        room = self._room(counts, length)
        tiles = [
            np.zeros((len(rows), room, *one.shape[1:]), one.dtype) for one in self.looks[0].tiles
        ]
        index = np.zeros((len(rows), self._slots(length)), np.int32)
        for place, row in enumerate(rows):
            own = zip(*(self.looks[number].tiles for number in self.shown[row]), strict=True)
            for field, one in zip(tiles, own, strict=True):
                field[place, : counts[row]] = np.concatenate(one)
            index[place, : len(self._index[row])] = self._index[row]
        return (*tiles, index, self._sight)

    @functools.cached_property
    def _sight(self) -> Common:
        return Common(Sight(self.pixels, self.eyes.others()))


def _shift_of(looks: Sequence[Look]) -> Int[np.ndarray, "slots axes"]:
    """The shifts of the features of several pictures, and that of the text after them."""
    found, before = [], 0
    for look in looks:
        assert look.shift is not None
        found.append(look.shift + before)
        before = int(found[-1][-1].max())
    return np.concatenate(found)
