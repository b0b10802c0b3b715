"""The kind of a checkpoint's image processor, and the settings that pictures are prepared by."""

import importlib
import re
from pathlib import Path
from typing import Any, NamedTuple

from evojax_merge.checkpoints.directory import member, read_json
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.documents.errors import shown

_FILE = "preprocessor_config.json"
_WHOLE_FILE = "processor_config.json"
"""The file of a whole processor. Newer releases keep the settings of its image processor in it, and
then no others count."""

_KIND = re.compile(r"(\w+?)(ImageProcessor|FeatureExtractor)(Fast|Pil)?")
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


class _Kind(NamedTuple):
    """A kind of image processor.

    Attributes:
        folder: Its folder in transformers.
        own: The settings that it alone has.
        called: Its name in transformers, where files have another for it.
    """

    folder: str
    own: tuple[str, ...] = ()
    called: str | None = None


_PATCHES = ("min_pixels", "max_pixels", "patch_size", "temporal_patch_size", "merge_size")
_KINDS = {
    "CLIP": _Kind("clip"),
    "Llava": _Kind("llava", ("do_pad",)),
    "LlavaNext": _Kind("llava_next", ("image_grid_pinpoints",)),
    "Siglip": _Kind("siglip"),
    "Qwen2VL": _Kind("qwen2_vl", _PATCHES),
    "Qwen2_5_VL": _Kind("qwen2_vl", _PATCHES, "Qwen2VL"),
}


class PictureSettings(NamedTuple):
    """The settings of an image processor.

    Attributes:
        path: The file that they stand in.
        kind: The kind of the processor, e.g. ``CLIP`` or ``LlavaNext``.
        values: The settings that transformers' processor of this kind knows, by name.
    """

    path: Path
    kind: str
    values: dict[str, Any]

    def one_view(self) -> "PictureSettings":
        """The settings by which a picture is seen once and whole, if it is seen in tiles here.

        The processor of LLaVA-1.6 has those of LLaVA-1.5 with tiles besides.
        """
        if self.kind != "LlavaNext":
            return self
        values = {name: value for name, value in self.values.items() if name in _SETTINGS}
        return PictureSettings(self.path, "CLIP", values)

    def processor(self) -> Any:
        """The image processor as transformers makes it with Pillow alone.

        Raises:
            CheckpointError: The settings make no sense.
        """
        # Seconds of import, of which many a merge needs nothing.
        folder, _, called = _KINDS[self.kind]
        name = f"transformers.models.{folder}.image_processing_pil_{folder}"
        processor = getattr(
            importlib.import_module(name), f"{called or self.kind}ImageProcessorPil"
        )
        try:
            return processor(**self.values)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise CheckpointError(f"{self.path}: is damaged ({error})") from error


def read_picture_settings(directory: Path, task: str) -> PictureSettings:
    """Read the settings of a checkpoint's image processor.

    Args:
        directory: The directory of the checkpoint.
        task: The name of the task in messages.

    Raises:
        CheckpointError: The checkpoint has no image processor, or one of another kind.
    """
    path, settings = _written(directory, task)
    named = settings.get("image_processor_type", settings.get("feature_extractor_type"))
    found = _KIND.fullmatch("CLIPImageProcessor" if named is None else str(named))
    if found is None or found[1] not in _KINDS:
        known = ", ".join(f"{kind}ImageProcessor" for kind in _KINDS)
        raise CheckpointError(f"{path}: is of a {shown(named)}; supported are {known}")
    known_settings = (*_SETTINGS, *_KINDS[found[1]].own)
    values = {name: settings[name] for name in known_settings if name in settings}
    return PictureSettings(path, found[1], values)


def _written(directory: Path, task: str) -> tuple[Path, dict[str, Any]]:
    """The file that an image processor is described by, and what it says."""
    whole, path = member(directory, _WHOLE_FILE), member(directory, _FILE)
    if whole.exists():
        nested = read_json(whole).get("image_processor")
        if isinstance(nested, dict):
            return whole, nested
    if path.exists():
        return path, read_json(path)
    raise CheckpointError(
        f"{task}: {directory} has no {_FILE}, which says how pictures are prepared; put it "
        "there, or name a checkpoint that has one as fitness.processor"
    )
