"""How a LLaVA sees pictures."""

import dataclasses
from typing import Any, Self

import numpy as np
from jaxtyping import Shaped

from evojax_merge.models.clip.abilities import activation_bytes
from evojax_merge.models.llava import modeling
from evojax_merge.models.llava.config import LlavaConfig
from evojax_merge.models.llava.params import NEWLINE
from evojax_merge.models.llava.pictures import gather_index, tiles_of
from evojax_merge.models.request import Pixels
from evojax_merge.models.seeing.config import PROJECTOR
from evojax_merge.models.seeing.vision import Look, Size, Vision
from evojax_merge.params.types import Array, Float, Params, UInt8


@dataclasses.dataclass(frozen=True)
class LlavaVision(Vision):
    """A picture is seen in tiles of one size, each by itself, the first of which is all of it."""

    config: LlavaConfig

    @property
    def token_id(self) -> int:
        return self.config.pictures.token_id

    @property
    def positions(self) -> int:
        return self.config.pictures.tile_tokens

    @property
    def whole(self) -> bool:
        return self.config.pictures.pinpoints is None

    def look(self, prepared: UInt8[np.ndarray, "views channels height width"], size: Size) -> Look:
        vision, pictures = self.config.vision, self.config.pictures
        shape = (vision.num_channels, vision.image_size, vision.image_size)
        if prepared.shape[1:] != shape:
            raise ValueError(
                f"makes pictures of {prepared.shape[1:]} (channels, height, width), and the model "
                f"reads {shape}"
            )
        if len(prepared) != (expected := tiles_of(pictures, size)):
            raise ValueError(
                f"cuts a picture of {size[0]} × {size[1]} pixels into {len(prepared)} views, and "
                f"the model sees {expected}"
            )
        return Look((prepared,), gather_index(pictures, size))

    def one_view(self) -> Self:
        pictures = dataclasses.replace(self.config.pictures, pinpoints=None)
        return dataclasses.replace(self, config=dataclasses.replace(self.config, pictures=pictures))

    @property
    def settings(self) -> list[Any]:
        config = self.config
        seeing = [repr(config.vision), repr(config.projector), list(config.pictures.layers)]
        return [*seeing, config.pictures.select]

    def features(
        self, params: Params, pixels: Pixels, *tiles: Shaped[Array, "rows tiles ..."]
    ) -> Float[Array, "rows tiles positions hidden"]:
        (views,) = tiles
        rows, count, *shape = views.shape
        found = modeling.features(self.config, params, views.reshape(-1, *shape), pixels)
        return found.reshape(rows, count, *found.shape[1:])

    def extra(self, params: Params) -> Float[Array, " hidden"] | None:
        newline: Float[Array, " hidden"] | None = params[PROJECTOR].get(NEWLINE)
        return newline

    def bytes(self, rows: int, tiles: int, itemsize: int) -> int:
        vision, at_a_time = self.config.vision, min(rows * tiles, modeling.TILES_AT_A_TIME)
        width = self.config.projector.inputs + 2 * self.config.text.hidden_size
        states = vision.num_positions * width * itemsize
        pixels = 4 * vision.num_channels * vision.image_size**2
        activations = activation_bytes(vision, vision.num_positions, itemsize)
        return at_a_time * (pixels + states + activations)


VISION = LlavaVision
