"""Pictures as a model reads them, prepared once by the image processor of its checkpoint."""

import concurrent.futures
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from evojax_merge.checkpoints.directory import member, read_json, resolve
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.documents.errors import shown
from evojax_merge.documents.files import open_regular
from evojax_merge.fitness.data import DataError
from evojax_merge.models.request import Pixels

_FILES = ("preprocessor_config.json", "processor_config.json")
"""The files of an image processor's settings; in the second they lie below ``image_processor``."""

_KIND = re.compile(r"CLIP(ImageProcessor|FeatureExtractor)(Fast|Pil)?")
_SETTINGS = (
    "do_convert_rgb",
    "do_resize",
    "size",
    "resample",
    "do_center_crop",
    "crop_size",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
)
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


class PictureProcessor:
    """The image processor of a checkpoint, as transformers makes it with Pillow alone.

    Pictures are resized and cropped, and stay whole numbers from 0 to 255, a quarter of the size of
    the floats that a model reads. The attribute `pixels` says how they become these floats.

    Args:
        source: The directory or hub id of a checkpoint of CLIP.
        task: The name of the task in messages.

    Raises:
        CheckpointError: The checkpoint has no image processor, or one of another kind.
    """

    def __init__(self, source: str | Path, task: str) -> None:
        self._path, settings = _read_settings(resolve(source), task)
        # Seconds of import, of which many a merge needs nothing.
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        given = {name: settings[name] for name in _SETTINGS if name in settings}
        try:
            self._processor = CLIPImageProcessorPil(**given)
            self.pixels = _pixels(self._processor)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise CheckpointError(f"{self._path}: is damaged ({error})") from error
        self._processor.do_rescale = self._processor.do_normalize = False

    def __call__(
        self, pictures: Sequence[Picture], shape: tuple[int, int, int]
    ) -> UInt8[np.ndarray, "pictures channels height width"]:
        """Prepare pictures, on several threads.

        Args:
            pictures: The pictures.
            shape: The channels, height and width that the model reads.

        Raises:
            DataError: A picture is missing or cannot be read; its place is named.
            CheckpointError: The processor makes pictures of another shape.
        """
        prepared = np.empty((len(pictures), *shape), np.uint8)

        def prepare(index: int) -> None:
            found = self._prepare(pictures[index])
            if found.shape != shape:
                raise CheckpointError(
                    f"{self._path}: makes pictures of {found.shape} (channels, height, width), and "
                    f"the model reads {shape}; give the processor of this model"
                )
            prepared[index] = found

        threads = min(_THREADS, os.cpu_count() or 1)
        with concurrent.futures.ThreadPoolExecutor(threads) as executor:
            try:
                for _ in executor.map(prepare, range(len(pictures))):
                    pass
            except BaseException:
                executor.shutdown(cancel_futures=True)
                raise
        return prepared

    def _prepare(self, picture: Picture) -> UInt8[np.ndarray, "channels height width"]:
        image = picture.source
        if isinstance(image, Path):
            image = _opened(picture, image)
        try:
            found = self._processor(image, return_tensors="np")["pixel_values"][0]
        except Exception as error:  # of whatever kind transformers and Pillow raise
            raise DataError(
                f"{picture.place}: {picture.name} cannot be prepared as {self._path} says ({error})"
            ) from error
        return np.asarray(found, np.uint8)


def _opened(picture: Picture, path: Path) -> Image.Image:
    try:
        with open_regular(path) as file, Image.open(file) as image:
            image.load()
            return image
    except Exception as error:  # the readers of Pillow raise exceptions of any kind
        raise DataError(
            f"{picture.place}: {picture.name} cannot be read as a picture ({error}); replace it, "
            "or leave the item out"
        ) from error


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


def _read_settings(directory: Path, task: str) -> tuple[Path, dict[str, Any]]:
    """The file that an image processor is described by, and its settings."""
    for name in _FILES:
        path = member(directory, name)
        if not path.exists():
            continue
        settings = read_json(path)
        if name == _FILES[1]:
            settings = settings.get("image_processor", {})
        kind = settings.get("image_processor_type", settings.get("feature_extractor_type"))
        if kind is not None and not (isinstance(kind, str) and _KIND.fullmatch(kind)):
            raise CheckpointError(f"{path}: is of a {shown(kind)}; supported is CLIPImageProcessor")
        return path, settings
    raise CheckpointError(
        f"{task}: {directory} has no {_FILES[0]}, which says how pictures are prepared; put it "
        "there, or name a checkpoint that has one as fitness.processor"
    )
