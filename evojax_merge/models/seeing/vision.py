"""How a model sees pictures: what tasks ask of a family whose models see."""

import abc
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Shaped

from evojax_merge.models.request import Pixels
from evojax_merge.models.seeing.config import SeeingConfig
from evojax_merge.params.types import Array, Float, Int, Params, UInt8

Size = tuple[int, int]
"""A height and a width in pixels."""

Tiles = tuple[Shaped[np.ndarray, "_ ..."], ...]
"""What a tower reads of pictures: arrays whose first axis counts tiles. The first of them holds
pixels, uint8 ``[tiles, channels, height, width]``."""

EXTRA = -1
"""The row that stands after those of all tiles, however many there are (see `Vision.extra`)."""


class Look(NamedTuple):
    """What a model sees of one picture, all but the weights.

    Attributes:
        tiles: What the tower reads.
        rows: The row that each feature is, in their order. Rows count through the tiles of the
            picture, each of which has `Vision.positions` of them, and may be `EXTRA`.
        shift: How much further the position of each feature is than its place, were the picture
            the first of a prompt, where positions have several axes. Otherwise this is None.
    """

    tiles: Tiles
    rows: Int[np.ndarray, " features"]
    shift: Int[np.ndarray, "features axes"] | None = None


class Vision(abc.ABC):
    """How a model sees pictures.

    Attributes:
        config: The model, of which pictures are told apart by nothing that is in its weights.
    """

    config: SeeingConfig

    @property
    @abc.abstractmethod
    def token_id(self) -> int:
        """The token in whose place a feature stands."""

    @property
    def place(self) -> tuple[int, ...]:
        """The tokens that stand for a picture in a prompt, `token_id` once among them."""
        return (self.token_id,)

    @property
    @abc.abstractmethod
    def positions(self) -> int:
        """The number of rows of features that the tower makes of a tile."""

    @property
    def whole(self) -> bool:
        """Whether the processor's one view of a whole picture is all that the model sees."""
        return True

    @property
    def shifted(self) -> bool:
        """Whether looks have shifts, which are then the last field of a batch."""
        return bool(self.config.text.rope.sections)

    @abc.abstractmethod
    def look(self, prepared: UInt8[np.ndarray, "views channels height width"], size: Size) -> Look:
        """Return what the model sees of a picture.

        Args:
            prepared: What the image processor of the model makes of the picture.
            size: The size of the picture itself.

        Raises:
            ValueError: The processor is not that of the model.
        """

    def one_view(self) -> Self:
        """Return how the model sees the one view of a whole picture alone."""
        return self

    @property
    @abc.abstractmethod
    def settings(self) -> list[Any]:
        """What features depend on besides weights and tiles, as plain values."""

    @abc.abstractmethod
    def features(
        self, params: Params, pixels: Pixels, *tiles: Shaped[Array, "rows tiles ..."]
    ) -> Float[Array, "rows tiles positions hidden"]:
        """Compute the features of the tiles of each prompt, a few tiles at a time.

        Args:
            params: The parameter tree, of which tower and projector are read.
            pixels: The numbers that turn pixels into what the tower reads.
            tiles: The tiles of each prompt, one picture after another.
        """

    def extra(self, params: Params) -> Float[Array, " hidden"] | None:
        """Return the row `EXTRA` of all features, or None where there is none."""
        return None

    @abc.abstractmethod
    def bytes(self, rows: int, tiles: int, itemsize: int) -> int:
        """Estimate from above the activations of seeing so many tiles of each row, in bytes."""
