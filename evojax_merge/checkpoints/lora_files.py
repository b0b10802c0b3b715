"""LoRA files of diffusion models, in which one file is all, read onto the UNet of their base."""

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evojax_merge.checkpoints.adapter_factors import Adapter, Pair
from evojax_merge.checkpoints.checkpoint import Checkpoint
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import DTYPES, TensorInfo, file_headers, open_safetensors
from evojax_merge.checkpoints.lora_names import factor_of, is_lora_name, other_kind, spellings
from evojax_merge.checkpoints.reading import read_tensor
from evojax_merge.documents.errors import DocumentError, shown
from evojax_merge.documents.json_text import load_object
from evojax_merge.models import Slot
from evojax_merge.models.diffusion.config import UNET

_LISTED = 8
"""The number of problems that are listed."""

_DIFFUSERS_METADATA = "lora_adapter_metadata"


def is_lora_file(path: Path) -> bool:
    """Tell whether a safetensors file holds a LoRA, and no model."""
    if not path.is_file():
        return False
    return any(is_lora_name(name) for name in file_headers(path))


def read_lora_file(path: Path, base: Checkpoint) -> Adapter:
    """Read the headers of a LoRA file, and find what its factors are added to.

    Factors of text encoders are left out with a warning.

    Args:
        path: The file.
        base: The UNet that it was trained on, by itself or among the merged parts of a pipeline.

    Raises:
        CheckpointError: The file is damaged or of another kind than LoRA, or factors do not fit.
    """
    if base.family.unet is None:
        raise CheckpointError(
            f"{path}: is a LoRA file of a diffusion model, and {base.directory} is a "
            f"{base.family.name}; a LoRA of it is the directory that PEFT writes"
        )
    headers = file_headers(path)
    if others := [name for name in headers if other_kind(name)]:
        raise CheckpointError(
            f"{path}: holds more than plain LoRA ({others[0]} and {len(others) - 1} more), such as "
            "LoHa, LoKr, DoRA or changed norms, and cannot be merged; add it to its model by the "
            "tool that made it"
        )
    factors, unread = _by_module(headers)
    slots = _unet_slots(base)
    known = spellings(slots.keys(), base.family.unet(base.config))
    pairs, problems = [], [f"unexpected: {name}" for name in unread]
    scales = _scales_of(path)
    strange = [module for module in factors if module not in known]
    if factors and len(strange) == len(factors):
        raise CheckpointError(
            f"{path}: fits nothing in {base.directory}: the UNet has no module {strange[0]}, nor "
            f"any of the {len(strange)} that the file adapts; give the model that it was trained on"
        )
    problems += [f"adapts {module}, and the UNet has no such module" for module in strange]
    for module, names in factors.items():
        if module in known:
            slot = slots[known[module]]
            found = _problem(module, names, headers, slot)
            if found is None:
                rank = headers[names["A"]].shape[0]
                scale = _scale(known[module], names, headers, rank, scales)
                pairs.append(Pair(slot, names["A"], names["B"], False, rank, scale))
            else:
                problems.append(found)
    problems += [
        f"unsupported dtype: {name} is {info.dtype}, supported are {', '.join(DTYPES)}"
        for name, info in headers.items()
        if info.dtype not in DTYPES
    ]
    if problems:
        more = len(problems) - _LISTED
        listed = problems[:_LISTED] + ([f"… and {more} more"] if more > 0 else [])
        raise CheckpointError(
            f"{path}: the LoRA does not fit {base.directory}:\n  " + "\n  ".join(listed)
        )
    if not pairs:
        raise CheckpointError(f"{path}: holds no factors of a UNet, which alone are merged")
    return Adapter(path, base, tuple(pairs), {})


def _by_module(
    headers: Mapping[str, TensorInfo],
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return the names of the UNet's factors by module, and the names that are no factors."""
    path = next(iter(headers.values())).file
    factors: dict[str, dict[str, str]] = {}
    unread, encoders = [], 0
    for name in headers:
        found = factor_of(name)
        if found is None:
            unread.append(name)
        elif found.encoder:
            encoders += found.side == "A"
        else:
            factors.setdefault(found.module, {})[found.side] = name
    if encoders:
        warnings.warn(
            f"{path}: the factors of {encoders} modules of text encoders are not merged; a LoRA is "
            "added to the UNet alone",
            stacklevel=2,
        )
    return factors, unread


def _unet_slots(base: Checkpoint) -> dict[str, Slot]:
    """Return the slots of the UNet's linear layers and convolutions by module."""
    found = {}
    for name, slot in base.slots.items():
        part, slash, inner = name.rpartition("/")
        if (not slash or part == UNET) and inner.endswith(".weight") and len(slot.shape) in (2, 4):
            found[inner.removesuffix(".weight")] = slot
    return found


def _problem(
    module: str, names: Mapping[str, str], headers: Mapping[str, TensorInfo], slot: Slot
) -> str | None:
    """Say why factors are not those of a weight, if they are not."""
    if missing := [side for side in "AB" if side not in names]:
        return f"missing: {'down' if missing[0] == 'A' else 'up'} of {module}"
    a, b = (headers[names[side]].shape for side in "AB")
    rank = a[0] if a else 0
    fits = (
        len(a) >= 2
        and len(b) >= 2
        and b[:2] == (slot.shape[0], rank)
        and math.prod(b[2:]) == 1
        and a[1] == slot.shape[1]
        and math.prod(a[2:]) == math.prod(slot.shape[2:])
    )
    if fits:
        return None
    return (
        f"wrong shape: {module} is down {list(a)} and up {list(b)}, the weight is "
        f"{list(slot.shape)}"
    )


def _scales_of(path: Path) -> Mapping[str, Any]:
    """Return the ranks and alphas of all modules that diffusers keeps in the metadata, if any."""
    with open_safetensors(path) as file:
        text = (file.metadata() or {}).get(_DIFFUSERS_METADATA)
    if text is None:
        return {}
    try:
        return load_object(text)
    except DocumentError as error:
        raise CheckpointError(f"{path}: its metadata {_DIFFUSERS_METADATA}: {error}") from None


def _scale(
    module: str,
    names: Mapping[str, str],
    headers: Mapping[str, TensorInfo],
    rank: int,
    scales: Mapping[str, Any],
) -> float:
    """Return what the product of two factors is multiplied by: alpha over rank, or 1.

    Raises:
        CheckpointError: Alpha is no finite number.
    """
    if "alpha" in names:
        info = headers[names["alpha"]]
        found = np.asarray(read_tensor(info), np.float32).reshape(-1)
        if found.size != 1 or not np.isfinite(found[0]):
            raise CheckpointError(f"{info.file}: {info.name} is no finite number")
        return float(found[0]) / rank
    for prefix in ("unet.", ""):
        if f"{prefix}lora_alpha" in scales:
            alpha = _alpha(module, scales, prefix)
            return alpha / (math.sqrt(rank) if scales.get(f"{prefix}use_rslora") else rank)
    return 1.0


def _alpha(module: str, scales: Mapping[str, Any], prefix: str) -> float:
    """Return the alpha of a module, which ``alpha_pattern`` gives by the end of its name.

    Raises:
        CheckpointError: It is no finite number, or the pattern is no mapping.
    """
    pattern = scales.get(f"{prefix}alpha_pattern") or {}
    if not isinstance(pattern, Mapping):
        raise CheckpointError(f"metadata: {prefix}alpha_pattern is {shown(pattern)}, no mapping")
    ends = (key for key in pattern if f".{module}".endswith(f".{key}"))
    end = next(ends, None)
    found = scales[f"{prefix}lora_alpha"] if end is None else pattern[end]
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise CheckpointError(f"metadata: the alpha of {module} is {shown(found)}, no number")
    return float(found)
