"""Tiny random CLIP checkpoints, written by transformers' own torch models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file
from transformers import AutoConfig, PreTrainedModel

from evojax_merge.models.clip import params as clip_params
from evojax_merge.models.clip.config import CLIPConfig
from evojax_merge.params.tree import unflatten
from evojax_merge.params.types import Params

VOCAB = 40
EOS = VOCAB - 1
LENGTH = 12
IMAGE = 16

_TEXT: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": LENGTH,
    "bos_token_id": VOCAB - 2,
    "eos_token_id": EOS,
}
_VISION: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "image_size": IMAGE,
    "patch_size": 4,
}


def clip_config(
    text: Mapping[str, Any] | None = None, vision: Mapping[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """A ``config.json`` of both towers; nested widths of the projection do not count."""
    return {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": 20,
        "text_config": {**_TEXT, "projection_dim": 512, **(text or {})},
        "vision_config": {**_VISION, "projection_dim": 512, **(vision or {})},
        **changes,
    }


def tower_config(tower: str, projected: bool = False, **changes: Any) -> dict[str, Any]:
    """A ``config.json`` of the tower ``text`` or ``vision`` alone."""
    architecture = f"CLIP{tower.title()}Model" + ("WithProjection" if projected else "")
    return {
        "model_type": f"clip_{tower}_model",
        "architectures": [architecture],
        "projection_dim": 20,
        **(_TEXT if tower == "text" else _VISION),
        **changes,
    }


def write_clip(directory: Path, hf_config: Mapping[str, Any], seed: int = 0) -> PreTrainedModel:
    """Write a checkpoint whose parameters are all random but the scale; return its torch model."""
    cls = getattr(transformers, hf_config["architectures"][0])
    model = cls._from_config(AutoConfig.for_model(**hf_config), attn_implementation="eager").eval()
    rng = np.random.default_rng(seed)
    for name, leaf in model.named_parameters():
        if name == "logit_scale":
            continue
        noise = rng.standard_normal(leaf.shape)
        if "norm" in name or "layrnorm" in name:
            value = name.endswith("weight") + 0.3 * noise
        elif leaf.ndim < 2:
            value = 0.3 * noise
        else:
            value = noise / np.sqrt(leaf[0].numel())
        leaf.data = torch.from_numpy(np.asarray(value, np.float32))
    model.save_pretrained(directory)
    return model


def spell_as_before(directory: Path, tower: str) -> None:
    """Rename the tensors of a tower that stands alone as older releases of transformers did."""
    file = directory / "model.safetensors"
    tensors = {f"{tower}_model.{name}": tensor for name, tensor in load_file(file).items()}
    tensors[f"{tower}_model.embeddings.position_ids"] = np.arange(LENGTH)[None]
    save_file(tensors, file, metadata={"format": "pt"})


def read_clip(directory: Path, hf_config: Mapping[str, Any]) -> tuple[CLIPConfig, Params]:
    """The configuration and the parameter tree; every tensor of the file must have its place."""
    tensors = load_file(directory / "model.safetensors")
    config = CLIPConfig.from_files(hf_config, tensors)
    leaves = {}
    for path, leaf in clip_params.layout(config).leaves.items():
        if leaf.stacked:
            layers = [tensors.pop(leaf.tensor.format(layer=n)) for n in range(leaf.shape[0])]
            leaves[path] = jnp.asarray(np.stack(layers))
        else:
            leaves[path] = jnp.asarray(tensors.pop(leaf.tensor))
        assert leaves[path].shape == leaf.shape, path
    unread = [name for name in tensors if not clip_params.BUFFERS.fullmatch(name)]
    assert not unread
    return config, unflatten(leaves)


def texts() -> np.ndarray:
    """Texts whose end stands in different places, padded with EOS, with 0 and not at all."""
    rng = np.random.default_rng(1)
    tokens = rng.integers(3, VOCAB - 2, (5, LENGTH)).astype(np.int32)
    tokens[:, 0] = VOCAB - 2
    tokens[0, 5:] = EOS
    tokens[1, 3], tokens[1, 4:] = EOS, 0
    tokens[2, -1] = EOS
    tokens[3, [4, 8]] = EOS
    tokens[4, 1:] = EOS
    return tokens


def pictures(size: int = IMAGE) -> np.ndarray:
    """Noise in the place of normalised pictures."""
    return np.random.default_rng(2).standard_normal((3, 3, size, size)).astype(np.float32)
