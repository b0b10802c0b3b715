"""Folders of diffusers: a pipeline of several models, opened as one checkpoint.

Its configuration holds that of every part under the name of the part's folder, and its
``model_index.json`` under `INDEX_KEY`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evojax_merge.checkpoints.contents import Contents
from evojax_merge.checkpoints.described import lacks_weights
from evojax_merge.checkpoints.directory import member, read_json, subfolder
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import TensorInfo, read_headers
from evojax_merge.models import Family, family_of
from evojax_merge.models.diffusion.config import PARTS, PIPELINES, SCHEDULER, TEXT_2, UNET

MODEL_INDEX = "model_index.json"
INDEX_KEY = "model_index"
SCHEDULER_CONFIG = "scheduler_config.json"

_KNOWN = {
    "unet": ("UNet2DConditionModel",),
    "text_encoder": ("CLIPTextModel", "CLIPTextModelWithProjection"),
    "text_encoder_2": ("CLIPTextModel", "CLIPTextModelWithProjection"),
    "vae": ("AutoencoderKL",),
}
"""The classes of the parts that are known. The second text encoder alone may not be there."""


def is_pipeline(directory: Path) -> bool:
    """Tell whether a directory is a pipeline of several models, known or not."""
    index, config = (member(directory, name) for name in (MODEL_INDEX, "config.json"))
    return index.exists() and not config.exists()


def read_pipeline(directory: Path, described: bool = False) -> Contents:
    """Read the configurations and headers of a pipeline's parts, but no weights.

    Args:
        directory: The directory of the pipeline.
        described: Whether weights need not be there. If a part has none, there are no headers.

    Raises:
        CheckpointError: The pipeline is of no known kind, a part is missing or damaged, or a folder
            leads out of the directory.
    """
    index = read_json(member(directory, MODEL_INDEX))
    names = components_of(index)
    _check_known(directory, names)
    parts = [name for name in PARTS if name in names]
    folders = {name: subfolder(directory, name) for name in names}
    missing = [name for name in parts if not member(folders[name], "config.json").exists()]
    if missing:
        raise CheckpointError(
            f"{directory}: lacks {' and '.join(f'{name}/config.json' for name in missing)}, which "
            f"its {MODEL_INDEX} names; fetch the folder, and give the whole pipeline"
        )
    hf_config: dict[str, Any] = {INDEX_KEY: index, "_class_name": PIPELINES[TEXT_2 in parts]}
    tensors: dict[str, TensorInfo] = {}
    carried: dict[str, TensorInfo] = {}
    known = not (described and any(lacks_weights(folders[name]) for name in parts))
    for name in parts:
        hf_config[name] = read_json(member(folders[name], "config.json"))
        family = _family(folders[name], hf_config[name])
        for stored, info in read_headers(folders[name]).items() if known else ():
            ignored = family.ignored is not None and family.ignored.fullmatch(stored)
            (carried if ignored else tensors)[f"{name}/{stored}"] = info
    if SCHEDULER in folders and folders[SCHEDULER].is_dir():
        hf_config[SCHEDULER] = read_json(member(folders[SCHEDULER], SCHEDULER_CONFIG))
    here = {name: folder for name, folder in folders.items() if folder.is_dir()}
    return Contents(hf_config, tensors, carried, here)


def weight_folders(directory: Path) -> list[Path]:
    """Return the folders of a pipeline's parts that hold weights, in their order."""
    names = components_of(read_json(member(directory, MODEL_INDEX)))
    return [subfolder(directory, name) for name in PARTS if name in names]


def components_of(index: Mapping[str, Any]) -> dict[str, str]:
    """Return the components that a ``model_index.json`` names, each with its class."""
    return {
        name: entry[1]
        for name, entry in index.items()
        if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str)
    }


def _family(folder: Path, hf_config: Mapping[str, Any]) -> Family:
    try:
        return family_of(hf_config)
    except ValueError as error:
        raise CheckpointError(f"{folder}: {error}") from error


def _check_known(directory: Path, names: Mapping[str, str]) -> None:
    """Check that a pipeline is one of Stable Diffusion.

    Raises:
        CheckpointError: It is another. Its folders that hold models are named.
    """
    known = [name in names and names[name] in classes for name, classes in _KNOWN.items()]
    if UNET in names and all(
        fits or (name == TEXT_2 and name not in names)
        for fits, name in zip(known, _KNOWN, strict=True)
    ):
        return
    models = sorted(path.parent.name for path in directory.glob("*/config.json"))
    raise CheckpointError(
        f"{directory}: is a pipeline of several models; give the folder of one of them: "
        f"{', '.join(models) or 'none has a config.json'}"
    )
