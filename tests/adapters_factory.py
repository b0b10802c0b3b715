"""Tiny random LoRA adapters in PEFT's layout, written with NumPy alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from evojax_merge.models import family_of

PREFIX = "base_model.model."


def adapter_config(**changes: Any) -> dict[str, Any]:
    """An ``adapter_config.json`` of rank 4 on two projections; ``None`` is written as null."""
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": "base",
        "r": 4,
        "lora_alpha": 6,
        "target_modules": ["q_proj", "down_proj"],
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "use_dora": False,
        "use_rslora": False,
        "rank_pattern": {},
        "alpha_pattern": {},
        "modules_to_save": None,
    }
    return config | changes


def adapter_tensors(
    hf_config: Mapping[str, Any],
    seed: int = 0,
    targets: tuple[str, ...] = ("q_proj", "down_proj"),
    rank: int = 4,
    ranks: Mapping[str, int] | None = None,
    layers: tuple[int, ...] | None = None,
    scale: float = 0.1,
    dtype: Any = np.float32,
) -> dict[str, np.ndarray]:
    """Factors by name. ``ranks``: of single modules; ``layers``: those adapted, else all."""
    family = family_of(hf_config)
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, slot in family.layout(family.config_from_hf(hf_config)).slots.items():
        module = name.removesuffix(".weight")
        if module.split(".")[-1] not in targets or not name.endswith(".weight"):
            continue
        if layers is not None and slot.layer is not None and slot.layer not in layers:
            continue
        own = (ranks or {}).get(module, rank)
        rows, columns = slot.shape
        b, a = rng.standard_normal((rows, own)), rng.standard_normal((own, columns))
        b *= scale
        if module.endswith("embed_tokens"):
            pair = {"lora_embedding_A": b.T, "lora_embedding_B": a.T}
        else:
            pair = {"lora_A.weight": a, "lora_B.weight": b}
        for part, value in pair.items():
            tensors[f"{PREFIX}{module}.{part}"] = np.ascontiguousarray(value).astype(dtype)
    return tensors


def write_adapter(directory: Path, tensors: Mapping[str, np.ndarray], **config: Any) -> Path:
    """Write an adapter directory and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "adapter_config.json").write_text(json.dumps(adapter_config(**config)))
    save_file(dict(tensors), directory / "adapter_model.safetensors", metadata={"format": "pt"})
    return directory


def task_vectors(tensors: Mapping[str, np.ndarray], scale_of: Any) -> dict[str, np.ndarray]:
    """What an adapter adds to each tensor of its base by name, in float64.

    ``scale_of(module)`` is what the product of the factors is multiplied by.
    """
    added = {}
    for name, value in tensors.items():
        module = name.removeprefix(PREFIX).split(".lora_")[0]
        if name.endswith("lora_A.weight"):
            other = tensors[name.replace("lora_A", "lora_B")].astype(np.float64)
            product = other @ value.astype(np.float64)
        elif name.endswith("lora_embedding_A"):
            other = tensors[name.replace("embedding_A", "embedding_B")].astype(np.float64)
            product = (other @ value.astype(np.float64)).T
        else:
            continue
        added[module + ".weight"] = scale_of(module) * product
    return added
