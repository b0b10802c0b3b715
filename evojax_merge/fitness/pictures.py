"""Pictures as a model reads them, prepared once by the image processor of its checkpoint."""

import concurrent.futures
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Real, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from evojax_merge.checkpoints.directory import resolve
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.documents.files import open_regular
from evojax_merge.fitness.data import DataError
from evojax_merge.fitness.picture_settings import read_picture_settings
from evojax_merge.models.request import Pixels

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""The formats that are read. Pillow reads others by starting programs, as PostScript."""

MOST_PIXELS = 2**28
"""The most pixels that a picture may have while it is prepared, 768 MiB of three channels. Pillow
reads fewer, but what it reads may be enlarged."""

_THREADS = 8

_GRID = "image_grid_thw"
"""What a processor tells beside patches: how many there are in time, down and across."""


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
    """What an image processor makes of a picture.

    Attributes:
        pixels: The whole picture, then its tiles from left to right and from top to bottom if the
            processor makes tiles. Whole numbers from 0 to 255.
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
            (view,) = self._views(pictures[index]).pixels
            if view.shape != shape:
                raise CheckpointError(
                    f"{self.path}: makes pictures of {view.shape} (channels, height, width), and "
                    f"the model reads {shape}; give the processor of this model"
                )
            prepared[index] = view

        _on_threads(prepare, range(len(pictures)))
        return prepared

    def views(self, pictures: Sequence[Picture]) -> list[Views]:
        """Prepare pictures with their tiles, on several threads.

        Raises:
            DataError: A picture is missing or cannot be read; its place is named.
        """
        return _on_threads(self._views, pictures)

    def _views(self, picture: Picture) -> Views:
        image = picture.source
        if isinstance(image, Path):
            image = opened(picture, image)
        try:
            self._check_enlarged(picture, image)
            made = self._processor(image, return_tensors="np")
            found = as_picture(self._processor, made) if _GRID in made else made["pixel_values"][0]
        except DataError:
            raise
        except Exception as error:  # of whatever kind transformers and Pillow raise
            raise DataError(
                f"{picture.place}: {picture.name} cannot be prepared as {self.path} says ({error})"
            ) from error
        pixels = np.asarray(found, np.uint8)
        return Views(pixels if pixels.ndim > 3 else pixels[None], (image.height, image.width))

    def _check_enlarged(self, picture: Picture, image: Image.Image) -> None:
        if (count := _pixels_within(self._processor, image)) > MOST_PIXELS:
            raise DataError(
                f"{picture.place}: {picture.name} of {image.width} × {image.height} pixels would "
                f"be enlarged to {count} pixels, as {self.path} says, and at most {MOST_PIXELS} "
                "are prepared; cut it, or leave the item out"
            )


def _pixels_within(processor: Any, image: Image.Image) -> int:
    """Return how many pixels a picture has at most while it is prepared.

    A long strip of few pixels has many once its shorter edge is scaled up, or once it is padded to
    a square.

    Args:
        processor: The processor.
        image: The picture.
    """
    size, (short, long) = processor.size, sorted(image.size)
    sizes = [image.size]
    sizes += [(one.height, one.width) for one in (size, processor.crop_size) if one and one.height]
    most = max(down * across for down, across in sizes)
    if (grids := getattr(processor, "image_grid_pinpoints", None)) is not None:
        return max([most, *(down * across for down, across in grids)])
    if getattr(processor, "do_pad", False):
        short, most = long, max(most, long**2)
    if not processor.do_resize or not size.shortest_edge:
        return most
    if size.longest_edge:  # the fewest and the most pixels of a picture that is cut into patches
        return max(most, size.shortest_edge)
    return max(most, size.shortest_edge**2 * long // short)


def as_picture(
    processor: Any, made: Mapping[str, Any]
) -> Real[np.ndarray, "channels height width"]:
    """Put the patches that a processor of Qwen-VL cuts a picture into together again.

    Args:
        processor: The processor.
        made: What it made of one still picture: patches, block by block of those that are merged,
            and how many there are down and across.
    """
    ((_, rows, columns),) = np.asarray(made[_GRID]).tolist()
    block, side, times = processor.merge_size, processor.patch_size, processor.temporal_patch_size
    patches = np.asarray(made["pixel_values"]).reshape(
        rows // block, columns // block, block, block, -1, times, side, side
    )
    # All times of a still picture are alike.
    whole = patches[:, :, :, :, :, 0].transpose(4, 0, 2, 5, 1, 3, 6)
    return whole.reshape(-1, rows * side, columns * side)


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
