"""How a Qwen2.5-VL sees pictures."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Shaped

from evojax_merge.models.qwen_vl import modeling
from evojax_merge.models.qwen_vl.config import QwenVLConfig
from evojax_merge.models.qwen_vl.pictures import feature_rows, feature_shift, windows
from evojax_merge.models.request import Pixels
from evojax_merge.models.seeing.vision import Look, Size, Vision
from evojax_merge.params.types import Array, Float, Params, UInt8


@dataclasses.dataclass(frozen=True)
class QwenVision(Vision):
    """A picture is seen in windows, which also see one another."""

    config: QwenVLConfig

    @property
    def token_id(self) -> int:
        return self.config.places.token_id

    @property
    def place(self) -> tuple[int, ...]:
        places = self.config.places
        return (places.start_id, places.token_id, places.end_id)

    @property
    def positions(self) -> int:
        return self.config.vision.window**2

    def look(self, prepared: UInt8[np.ndarray, "views channels height width"], size: Size) -> Look:
        vision = self.config.vision
        views, channels, height, width = prepared.shape
        block = vision.merge * vision.patch_size
        if views != 1 or channels != vision.num_channels or height % block or width % block:
            raise ValueError(
                f"makes pictures of {prepared.shape} (views, channels, height, width), and the "
                f"model reads one view of {vision.num_channels} channels, of a height and a width "
                f"that are multiples of {block}"
            )
        rows = feature_rows(vision, height, width)
        return Look(windows(vision, prepared[0]), rows, feature_shift(vision, height, width))

    @property
    def settings(self) -> list[Any]:
        return [repr(self.config.vision)]

    def features(
        self, params: Params, pixels: Pixels, *tiles: Shaped[Array, "rows tiles ..."]
    ) -> Float[Array, "rows tiles positions hidden"]:
        def of(own: tuple[Array, Array]) -> Array:
            return modeling.features(self.config.vision, params, pixels, *own)

        windows, where = tiles
        return jax.lax.map(of, (windows, where))

    def bytes(self, rows: int, tiles: int, itemsize: int) -> int:
        vision = self.config.vision  # rows are seen one after another
        patches = tiles * vision.side**2
        width = 8 * vision.hidden_size + 3 * vision.intermediate_size
        scores = 3 * 4 * vision.num_heads * patches * vision.side**2
        pixels = 4 * vision.num_channels * vision.patch_size**2
        return patches * (width * itemsize + pixels) + scores


VISION = QwenVision
