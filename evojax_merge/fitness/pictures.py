"""Pictures as a model reads them, prepared once by the image processor of its checkpoint."""

import concurrent.futures
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from evojax_merge.checkpoints.directory import resolve
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.documents.files import open_regular
from evojax_merge.fitness.data import DataError
from evojax_merge.fitness.picture_settings import read_picture_settings
from evojax_merge.models.request import Pixels

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""The formats that are read. Pillow reads others by starting programs, as PostScript."""

_THREADS = 8


class Picture(NamedTuple):
    """One picture of a data set.

    Attributes:
        place: The file and line, or the folder, as messages give it.
        name: What the data calls the picture.
        source: The file of the picture, or the picture itself.
    """

    place: str
    name: str
    source: Path | Image.Image

    @property
    def content(self) -> bytes:
        """What is the same for equal pictures: the name of a file, or the pixels."""
        if isinstance(self.source, Path):
            return self.name.encode("utf-8", "surrogateescape")
        return self.source.tobytes()


class Views(NamedTuple):
    """What a model sees of a picture.

    Attributes:
        pixels: The whole picture, then its tiles from left to right and from top to bottom if the
            model sees tiles. Whole numbers from 0 to 255.
        size: The height and the width of the picture, turned as its file says.
    """

    pixels: UInt8[np.ndarray, "views channels height width"]
    size: tuple[int, int]


class PictureProcessor:
    """The image processor of a checkpoint, as transformers makes it with Pillow alone.

    Pictures are resized, cropped and cut into tiles, and stay whole numbers from 0 to 255, a
    quarter of the size of the floats that a model reads.

    Args:
        source: The directory or hub id of a checkpoint.
        task: The name of the task in messages.
        one_view: Whether a picture is seen once and whole, also where the processor makes tiles.

    Attributes:
        pixels: How whole numbers become the floats that a model reads.
        grids: The heights and widths that pictures are fitted into before they are cut into tiles,
            or None where there are no tiles.

    Raises:
        CheckpointError: The checkpoint has no image processor, or one of another kind.
    """

    def __init__(self, source: str | Path, task: str, one_view: bool = False) -> None:
        settings = read_picture_settings(resolve(source), task)
        self.path = settings.path
        self._processor = (settings.one_view() if one_view else settings).processor()
        try:
            self.pixels = _pixels(self._processor)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise CheckpointError(f"{self.path}: is damaged ({error})") from error
        self.grids: Any = getattr(self._processor, "image_grid_pinpoints", None)
        self._processor.do_rescale = self._processor.do_normalize = False

    def __call__(
        self, pictures: Sequence[Picture], shape: tuple[int, int, int]
    ) -> UInt8[np.ndarray, "pictures channels height width"]:
        """Prepare pictures that are seen once and whole, on several threads.

        Args:
            pictures: The pictures.
            shape: The channels, height and width that the model reads.

        Raises:
            DataError: A picture is missing or cannot be read; its place is named.
            CheckpointError: The processor makes pictures of another shape, or tiles.
        """
        if self.grids is not None:
            raise CheckpointError(
                f"{self.path}: cuts pictures into tiles, and this model sees them whole; give the "
                "processor of this model"
            )
        prepared = np.empty((len(pictures), *shape), np.uint8)

        def prepare(index: int) -> None:
            (prepared[index],) = self._views(pictures[index], shape).pixels

        _on_threads(prepare, range(len(pictures)))
        return prepared

    def views(self, pictures: Sequence[Picture], shape: tuple[int, int, int]) -> list[Views]:
        """Prepare pictures with their tiles, on several threads.

        Args:
            pictures: The pictures.
            shape: The channels, height and width that the model reads.

        Raises:
            DataError: A picture is missing or cannot be read; its place is named.
            CheckpointError: The processor makes pictures of another shape.
        """
        return _on_threads(lambda picture: self._views(picture, shape), pictures)

    def _views(self, picture: Picture, shape: tuple[int, int, int]) -> Views:
        image = picture.source
        if isinstance(image, Path):
            image = opened(picture, image)
        try:
            made = self._processor(image, return_tensors="np")["pixel_values"][0]
        except Exception as error:  # of whatever kind transformers and Pillow raise
            raise DataError(
                f"{picture.place}: {picture.name} cannot be prepared as {self.path} says ({error})"
            ) from error
        pixels = np.asarray(made, np.uint8)
        pixels = pixels if pixels.ndim > len(shape) else pixels[None]
        if pixels.shape[1:] != shape:
            raise CheckpointError(
                f"{self.path}: makes pictures of {pixels.shape[1:]} (channels, height, width), and "
                f"the model reads {shape}; give the processor of this model"
            )
        return Views(pixels, (image.height, image.width))


def opened(picture: Picture, path: Path) -> Image.Image:
    """Read the file of a picture, and turn it as the file says (EXIF) so that it is upright.

    Raises:
        DataError: The file is no picture in one of `FORMATS`, is damaged, or holds more pixels than
            Pillow takes for a picture.
    """
    try:
        with open_regular(path) as file, Image.open(file, formats=FORMATS) as image:
            image.load()
            return ImageOps.exif_transpose(image)
    except Exception as error:  # the readers of Pillow raise exceptions of any kind
        unknown = isinstance(error, UnidentifiedImageError)  # it names an object of Python
        reason = f"it is none of {', '.join(FORMATS)}" if unknown else error
        raise DataError(
            f"{picture.place}: {picture.name} cannot be read as a picture ({reason}); replace it, "
            "or leave the item out"
        ) from error


def _on_threads(work: Callable[[Any], Any], given: Sequence[Any]) -> list[Any]:
    threads = min(_THREADS, os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(threads) as executor:
        try:
            return list(executor.map(work, given))
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise


def _pixels(processor: Any) -> Pixels:
    """How whole numbers become floats: (factor · pixel − mean) / deviation."""
    channels = len(processor.image_mean) if processor.do_normalize else 3
    mean, deviation = np.zeros(channels), np.ones(channels)
    if processor.do_normalize:
        mean = np.array(processor.image_mean, np.float64)
        deviation = np.array(processor.image_std, np.float64)
    factor = float(processor.rescale_factor) if processor.do_rescale else 1.0
    if mean.shape != deviation.shape or not (deviation > 0).all():
        raise ValueError(f"image_mean {mean.tolist()} and image_std {deviation.tolist()}")
    return Pixels((factor / deviation).astype(np.float32), (-mean / deviation).astype(np.float32))
