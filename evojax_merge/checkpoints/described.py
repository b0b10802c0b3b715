"""Checkpoints that are known by their configuration alone, since their weights are not there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import DTYPES, TensorInfo, weight_files
from evojax_merge.models import Slot

_SPELLED = {dtype.name: name for name, dtype in DTYPES.items()}


def lacks_weights(directory: Path) -> bool:
    """Whether a directory holds no safetensors of weights that could be read."""
    try:
        return not all(file.exists() for file in weight_files(directory))
    except CheckpointError:
        return True


def headers_of(
    slots: Mapping[str, Slot], hf_config: Mapping[str, Any], directory: Path
) -> dict[str, TensorInfo]:
    """Return the headers that a checkpoint of a configuration has.

    Args:
        slots: The places of its tensors by name.
        hf_config: The content of its ``config.json``, which may say a dtype; else it is float32.
        directory: Where its files would be.
    """
    said = hf_config.get("dtype") or hf_config.get("torch_dtype")
    dtype = _SPELLED.get(said, "F32") if isinstance(said, str) else "F32"
    return {
        name: TensorInfo(directory / name, name, dtype, slot.shape) for name, slot in slots.items()
    }
