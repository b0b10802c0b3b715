"""How drawn pictures become what a network reads, on the device where they were drawn.

Pillow, by which image processors prepare pictures that are read from files, cannot run there. Its
filters are matrices, and so are they here.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.fitness.picture_settings import read_picture_settings
from evojax_merge.params.types import Array, Float

FILTERS = ("bilinear", "bicubic", "lanczos")
"""The filters by which pictures are resized. All spread over more pixels where they shrink."""

_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0}
_BY_NUMBER = {
    Image.Resampling.BILINEAR: "bilinear",
    Image.Resampling.BICUBIC: "bicubic",
    Image.Resampling.LANCZOS: "lanczos",
}


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What an image processor does, for pictures with numbers between 0 and 1.

    Attributes:
        resized: The height and width that pictures are resized to; or one number, to which their
            shorter side is. With None they keep their size.
        cropped: The height and width that are cut out of the middle, or None for all.
        resample: The filter, one of `FILTERS`.
        scale: The number that each channel is multiplied by.
        shift: The number that is then added to each.
    """

    resized: tuple[int, int] | int | None
    cropped: tuple[int, int] | None
    resample: str
    scale: tuple[float, ...]
    shift: tuple[float, ...]

    @classmethod
    def read(cls, directory: Path, task: str) -> Self:
        """Read the settings of a checkpoint's image processor.

        Args:
            directory: The directory of the checkpoint.
            task: The name of the task in messages.

        Raises:
            CheckpointError: The checkpoint has no image processor, or one of another kind.
        """
        settings = read_picture_settings(directory, task).one_view()
        processor = settings.processor()
        try:
            return cls(
                _resized(processor) if processor.do_resize else None,
                _both(processor.crop_size) if getattr(processor, "do_center_crop", None) else None,
                _BY_NUMBER[Image.Resampling(int(processor.resample))],
                *_numbers(processor),
            )
        except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise CheckpointError(
                f"{settings.path}: pictures that are drawn cannot be prepared as it says "
                f"({error!r}); supported are a size or a shortest edge, a crop of the middle, and "
                f"the filters {', '.join(FILTERS)}"
            ) from error

    def __call__(
        self, pictures: Float[Array, "batch channels height width"]
    ) -> Float[Array, "batch channels rows columns"]:
        """Prepare pictures of one size with numbers between 0 and 1."""
        height, width = self._size(*pictures.shape[2:])
        found = resized(pictures.astype(jnp.float32), height, width, self.resample)
        if self.cropped is not None:
            found = _middle(found, *self.cropped)
        scale, shift = (
            jnp.asarray(numbers, jnp.float32)[:, None, None] for numbers in (self.scale, self.shift)
        )
        return found * scale + shift

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and the width that pictures of a size have in the end."""
        return self._size(height, width) if self.cropped is None else self.cropped

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and the width that pictures of a size are resized to."""
        if self.resized is None:
            return height, width
        if isinstance(self.resized, tuple):
            return self.resized
        short, long = sorted((height, width))
        longer = int(self.resized * long / short)
        return (longer, self.resized) if height > width else (self.resized, longer)


def resized(
    pictures: Float[Array, "batch channels rows columns"], height: int, width: int, resample: str
) -> Float[Array, "batch channels height width"]:
    """Resize pictures as Pillow does, along the rows first, but for the rounding in between.

    Args:
        pictures: Pictures with numbers between 0 and 1.
        height: The height that they get.
        width: The width that they get.
        resample: The filter, one of `FILTERS`.
    """
    highest = jax.lax.Precision.HIGHEST
    if width != pictures.shape[3]:
        matrix = filter_matrix(pictures.shape[3], width, resample)
        pictures = jnp.einsum("bchw,ow->bcho", pictures, matrix, precision=highest)
        pictures = jnp.clip(pictures, 0, 1)
    if height != pictures.shape[2]:
        matrix = filter_matrix(pictures.shape[2], height, resample)
        pictures = jnp.einsum("bchw,oh->bcow", pictures, matrix, precision=highest)
        pictures = jnp.clip(pictures, 0, 1)
    return pictures


def filter_matrix(before: int, after: int, resample: str) -> Float[np.ndarray, "after before"]:
    """Make the matrix that resizes a row of pixels, whose rows sum to 1.

    Args:
        before: The number of pixels.
        after: The number of pixels that there shall be.
        resample: The filter, one of `FILTERS`.
    """
    scale = before / after
    stretch = max(scale, 1.0)
    reach = _SUPPORT[resample] * stretch
    matrix = np.zeros((after, before))
    for pixel in range(after):
        centre = (pixel + 0.5) * scale
        first = max(int(centre - reach + 0.5), 0)
        last = min(int(centre + reach + 0.5), before)
        own = _weights((np.arange(first, last) - centre + 0.5) / stretch, resample)
        matrix[pixel, first:last] = own / own.sum()
    return matrix.astype(np.float32)


def _weights(x: Float[np.ndarray, " taps"], resample: str) -> Float[np.ndarray, " taps"]:
    """Return the weights of pixels at a distance, in pixels of the smaller picture."""
    x = np.abs(x)
    match resample:
        case "bilinear":
            return np.maximum(1 - x, 0)
        case "bicubic":  # Keys, 1981, with a = -1/2
            near = (1.5 * x - 2.5) * x * x + 1
            far = ((-0.5 * x + 2.5) * x - 4) * x + 2
            return np.where(x < 1, near, np.where(x < 2, far, 0))
    return np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0)


def _middle(
    pictures: Float[Array, "batch channels rows columns"], height: int, width: int
) -> Float[Array, "batch channels height width"]:
    """Cut out the middle. What lies beyond the picture is black."""
    for axis, wanted in ((2, height), (3, width)):
        extra = pictures.shape[axis] - wanted
        if extra >= 0:
            first = extra // 2
            pictures = jax.lax.slice_in_dim(pictures, first, first + wanted, axis=axis)
        else:
            margins = [(0, 0)] * 4
            before = math.ceil(-extra / 2)
            margins[axis] = (before, -extra - before)
            pictures = jnp.pad(pictures, margins)
    return pictures


def _resized(processor: Any) -> tuple[int, int] | int:
    size = dict(processor.size)
    given = {name for name, value in size.items() if value is not None}
    if given == {"shortest_edge"}:
        return int(size["shortest_edge"])
    if given != {"height", "width"}:
        raise ValueError(f"size is {size}")
    return _both(size)


def _both(size: Any) -> tuple[int, int]:
    return int(size["height"]), int(size["width"])


def _numbers(processor: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return factor and addend of each channel: (255 · rescale_factor · p − mean) / deviation."""
    mean, deviation = np.zeros(3), np.ones(3)
    if processor.do_normalize:
        mean = np.asarray(processor.image_mean, np.float64)
        deviation = np.asarray(processor.image_std, np.float64)
    if mean.shape != (3,) or deviation.shape != (3,) or not (deviation > 0).all():
        raise ValueError(f"image_mean {mean.tolist()} and image_std {deviation.tolist()}")
    factor = 255 * float(processor.rescale_factor if processor.do_rescale else 1)
    return tuple((factor / deviation).tolist()), tuple((-mean / deviation).tolist())
