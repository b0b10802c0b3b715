"""Tiny random pipelines of Stable Diffusion's architectures, folders and single files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from evojax_merge.models.diffusion.architectures import ARCHITECTURES
from evojax_merge.models.diffusion.config import DiffusionConfig
from evojax_merge.models.diffusion.original_names import places
from evojax_merge.models.diffusion.params import layout

_UNET: dict[str, dict[str, Any]] = {
    "SDXL": {
        "block_out_channels": [8, 16, 16],
        "attention_head_dim": [1, 2, 2],
        "cross_attention_dim": 24,
        "transformer_layers_per_block": [1, 2, 3],
        "projection_class_embeddings_input_dim": 6 * 4 + 16,
        "addition_time_embed_dim": 4,
    },
    "SD 1.x": {
        "block_out_channels": [8, 8, 16, 16],
        "attention_head_dim": 2,
        "cross_attention_dim": 8,
    },
    "SD 2.x": {
        "block_out_channels": [8, 8, 16, 16],
        "attention_head_dim": [1, 1, 2, 2],
        "cross_attention_dim": 16,
    },
}
_VAE = {"block_out_channels": [8, 8, 8, 8], "norm_num_groups": 4, "sample_size": 32}
_TEXT = {"hidden_size": 8, "num_attention_heads": 2}
_TEXT_2 = {"hidden_size": 16, "num_attention_heads": 2}
_ENCODER = {
    "intermediate_size": 24,
    "max_position_embeddings": 7,
    "num_hidden_layers": 2,
    "projection_dim": 16,
    "vocab_size": 11,
}


def pipeline_configs(kind: str = "SDXL") -> dict[str, dict[str, Any]]:
    """The configurations of a tiny pipeline's parts, by the names of their folders."""
    found = {name: dict(config) for name, config in ARCHITECTURES[kind].items()}
    found["unet"] |= {"norm_num_groups": 4, "sample_size": 8, **_UNET[kind]}
    found["vae"] |= _VAE
    found["text_encoder"] |= _ENCODER | (_TEXT_2 if kind == "SD 2.x" else _TEXT)
    if "text_encoder_2" in found:
        found["text_encoder_2"] |= _ENCODER | _TEXT_2
    return found


def pipeline_tensors(configs: Mapping[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights of every part by the whole's names, as files of the hub spell them."""
    rng = np.random.default_rng(seed)
    spelled = [f"{part}/text_model." for part in configs]
    config = DiffusionConfig.from_files(configs, spelled)
    return {
        name: np.float32(0.3) * rng.standard_normal(slot.shape, np.float32)
        for name, slot in layout(config).slots.items()
    }


def write_folder(
    directory: Path,
    configs: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    variant: str = "",
) -> Path:
    """Write a pipeline as a folder of diffusers, with placeholders of tokenizers."""
    for part, config in configs.items():
        (directory / part).mkdir(parents=True)
        if part == "scheduler":
            (directory / part / "scheduler_config.json").write_text(json.dumps(config))
            continue
        (directory / part / "config.json").write_text(json.dumps(config))
        stem = "model" if part.startswith("text") else "diffusion_pytorch_model"
        prefix = f"{part}/"
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        save_file(own, directory / part / f"{stem}{variant}.safetensors", metadata={"format": "pt"})
    encoders = [part for part in configs if part.startswith("text_encoder")]
    for part in encoders:
        folder = directory / part.replace("text_encoder", "tokenizer")
        folder.mkdir()
        (folder / "vocab.json").write_text(json.dumps({"a": 0, "of": part}))
        (folder / "merges.txt").write_text("#version: 0.2\n")
        (folder / "tokenizer_config.json").write_text("{}")
    index = {
        "_class_name": "StableDiffusionXLPipeline"
        if len(encoders) > 1
        else "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", configs["scheduler"]["_class_name"]],
        "feature_extractor": [None, None],
        **{part: ["transformers", configs[part]["architectures"][0]] for part in encoders},
        **{
            p.replace("text_encoder", "tokenizer"): ["transformers", "CLIPTokenizer"]
            for p in encoders
        },
    }
    (directory / "model_index.json").write_text(json.dumps(index))
    return directory


def original_tensors(
    configs: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The same weights as a single file in the original layout holds them."""
    placed = places(DiffusionConfig.from_files(configs, tensors.keys()))
    found: dict[str, Any] = {}
    for name, tensor in tensors.items():
        place = placed[name]
        if place.rows is not None:
            found.setdefault(place.name, {})[place.rows[0]] = tensor
        elif ".attn_1." in place.name and tensor.ndim == 2:
            found[place.name] = tensor[:, :, None, None]
        else:
            found[place.name] = np.ascontiguousarray(tensor.T) if place.transposed else tensor
    return {
        name: np.concatenate([held[n] for n in range(3)]) if isinstance(held, dict) else held
        for name, held in found.items()
    }


def write_single(
    file: Path,
    configs: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    extra: Mapping[str, np.ndarray] | None = None,
    described: bool = True,
) -> Path:
    """Write a pipeline as a single file, which says its configuration in its metadata."""
    held = {**original_tensors(configs, tensors), **(extra or {})}
    metadata = {"evojax_merge.pipeline": json.dumps(dict(configs))} if described else {}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(held, file, metadata={"format": "pt", **metadata})
    return file


def folder_tensors(directory: Path) -> dict[str, np.ndarray]:
    """All tensors of a folder of diffusers, by the whole's names."""
    return {
        f"{path.parent.name}/{name}": tensor
        for path in sorted(directory.glob("*/*.safetensors"))
        for name, tensor in load_file(path).items()
    }
