"""Single files in the original layout of Stable Diffusion, opened as a pipeline of diffusers.

Such a file says nothing of its architecture, which is told from shapes. One that this package wrote
says it in its metadata.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evojax_merge.checkpoints.contents import Contents
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import TensorInfo, file_headers, open_safetensors
from evojax_merge.checkpoints.reading import read_tensor
from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.json_text import load_object
from evojax_merge.models.diffusion.architectures import ARCHITECTURES, BY_CONTEXT_WIDTH
from evojax_merge.models.diffusion.config import (
    PARTS,
    PIPELINES,
    SCHEDULER,
    TEXT,
    TEXT_2,
    UNET,
    DiffusionConfig,
)
from evojax_merge.models.diffusion.original_names import UNET_PREFIX, Place, places
from evojax_merge.models.diffusion.params import layout

METADATA = "evojax_merge.pipeline"
"""The key of the metadata under which a written file says the configurations of its parts."""

_FIRST = f"{UNET_PREFIX}input_blocks.0.0.weight"
_CONTEXT = "transformer_blocks.0.attn2.to_k.weight"
_REFINER = "conditioner.embedders.0.model.text_projection"

_BASE_STEPS = 875_000
"""The ``global_step`` of Stable Diffusion 2 base, which alone of SD 2.x predicts the noise."""

_SPELLED = tuple(f"{name}/text_model." for name in (TEXT, TEXT_2))
"""The beginnings of names in text encoders, as older releases of transformers read them too."""


def read_single_file(path: Path) -> Contents:
    """Read the headers of a single file, but no weights.

    What the architecture has no place for is carried.

    Raises:
        CheckpointError: The file is damaged, or of no known architecture.
    """
    headers = file_headers(path)
    hf_config = _described(path) or _recognised(path, headers)
    try:
        config = DiffusionConfig.from_files(hf_config, _SPELLED)
        placed = places(config)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    slots = layout(config).slots
    tensors = {
        name: _taken(headers[place.name], place, slots[name].shape)
        for name, place in placed.items()
        if place.name in headers
    }
    used = {place.name for place in placed.values()}
    carried = {name: info for name, info in headers.items() if name not in used}
    return Contents(hf_config, tensors, carried)


def described(hf_config: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata by which a written file says its architecture."""
    kept = {name: hf_config[name] for name in (*PARTS, SCHEDULER) if name in hf_config}
    return {METADATA: json.dumps(kept, sort_keys=True)}


def _described(path: Path) -> dict[str, Any] | None:
    """Return the configurations that a file itself says, if it does."""
    with open_safetensors(path) as file:
        text = (file.metadata() or {}).get(METADATA)
    if text is None:
        return None
    try:
        found = load_object(text)
    except DocumentError as error:
        raise CheckpointError(f"{path}: its metadata {METADATA}: {error}") from None
    kept = {name: found[name] for name in (*PARTS, SCHEDULER) if name in found}
    return _whole(kept)


def _whole(configs: Mapping[str, Any]) -> dict[str, Any]:
    return {"_class_name": PIPELINES[TEXT_2 in configs], **configs}


def _recognised(path: Path, headers: Mapping[str, TensorInfo]) -> dict[str, Any]:
    """Return the configurations of the architecture that shapes tell.

    Raises:
        CheckpointError: It is none of those known.
    """
    if _FIRST not in headers:
        raise CheckpointError(f"{path}: {_strange(headers)}")
    if _REFINER in headers:
        raise CheckpointError(
            f"{path}: is SDXL's refiner, whose pipeline is not supported; give a base model"
        )
    widths = {
        info.shape[-1]
        for name, info in headers.items()
        if name.startswith(UNET_PREFIX) and name.endswith(_CONTEXT) and info.shape
    }
    name = BY_CONTEXT_WIDTH.get(widths.pop()) if len(widths) == 1 else None
    if name is None:
        raise CheckpointError(
            f"{path}: is of no architecture that is known by shapes ({', '.join(ARCHITECTURES)}); "
            "give the model as a folder of diffusers, which says its configuration"
        )
    found = {part: dict(config) for part, config in ARCHITECTURES[name].items()}
    if len(headers[_FIRST].shape) == 4:
        found[UNET]["in_channels"] = headers[_FIRST].shape[1]
    found[SCHEDULER] |= _prediction(name, headers)
    return _whole(found)


def _strange(headers: Mapping[str, TensorInfo]) -> str:
    """Say what a file is that holds no UNet in the original layout."""
    if any(".lora_" in name or name.startswith("lora_") for name in headers):
        return (
            "is a LoRA file, no model; list it in model.sources and give the model that it was "
            "trained on as model.base"
        )
    if any(name.startswith(("down_blocks.", "decoder.", "text_model.")) for name in headers):
        return (
            "is one part of a pipeline, which its configuration belongs to; give the folder that "
            "holds it and its config.json"
        )
    return (
        f"holds no UNet of Stable Diffusion in the original layout ({_FIRST}); single files of "
        f"{', '.join(ARCHITECTURES)} are read"
    )


def _prediction(architecture: str, headers: Mapping[str, TensorInfo]) -> dict[str, Any]:
    """Return what is known of what the UNet predicts, as diffusers decides it."""
    if architecture == "SD 2.x":
        steps = headers.get("global_step")
        base = steps is not None and not steps.shape and int(read_tensor(steps)) == _BASE_STEPS
        return {"prediction_type": "epsilon" if base else "v_prediction"}
    found: dict[str, Any] = {}
    if "v_pred" in headers:
        found["prediction_type"] = "v_prediction"
    if "ztsnr" in headers:
        found["rescale_betas_zero_snr"] = True
    return found


def _taken(stored: TensorInfo, place: Place, shape: tuple[int, ...]) -> TensorInfo:
    """Return a tensor as it is taken from what is stored; a shape that does not fit is kept."""
    held, rows = stored.shape, None
    if place.transposed:
        held = held[::-1]
    elif place.rows is not None and held:
        part, parts = place.rows
        rows = part * held[0] // parts, (part + 1) * held[0] // parts
        held = (rows[1] - rows[0], *held[1:])
    if _plain(held) == _plain(shape):  # convolutions of one pixel are linear layers
        held = shape
    return stored._replace(shape=held, rows=rows, transposed=place.transposed)


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without the axes of a kernel of one pixel."""
    return shape[:2] if shape[2:] == (1, 1) else shape
