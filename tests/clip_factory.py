"""Tiny random CLIP checkpoints, written by transformers' own torch models."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
import transformers
from PIL import Image
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

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


def randomise(model: torch.nn.Module, seed: int, kept: Collection[str] = ()) -> None:
    """Draw all parameters at random but some: norms and biases are not as in a fresh model."""
    rng = np.random.default_rng(seed)
    for name, leaf in model.named_parameters():
        if name in kept:
            continue
        noise = rng.standard_normal(leaf.shape)
        if "norm" in name or "layrnorm" in name:
            value = name.endswith("weight") + 0.3 * noise
        elif leaf.ndim < 2:
            value = 0.3 * noise
        else:
            value = noise / np.sqrt(leaf[0].numel())
        leaf.data = torch.from_numpy(np.asarray(value, np.float32))


def write_clip(directory: Path, hf_config: Mapping[str, Any], seed: int = 0) -> PreTrainedModel:
    """Write a checkpoint whose parameters are all random but the scale; return its torch model."""
    cls = getattr(transformers, hf_config["architectures"][0])
    model = cls._from_config(AutoConfig.for_model(**hf_config), attn_implementation="eager").eval()
    randomise(model, seed, kept=("logit_scale",))
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


WORDS = ("red", "green", "blue", "a", "photo", "of", "picture", ".")


def write_reading_files(directory: Path) -> None:
    """Write a tokenizer that knows `WORDS`, and the settings of an image processor."""
    tokens = [*WORDS, *(f"<{number}>" for number in range(len(WORDS), VOCAB - 2))]
    vocabulary = {token: number for number, token in enumerate([*tokens, "<start>", "<end>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.RobertaProcessing(
        ("<end>", VOCAB - 1), ("<start>", VOCAB - 2), trim_offsets=False, add_prefix_space=False
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<start>", eos_token="<end>", pad_token="<end>"
    )
    fast.save_pretrained(directory)
    size = {"height": IMAGE, "width": IMAGE}
    CLIPImageProcessorPil(size={"shortest_edge": IMAGE}, crop_size=size).save_pretrained(directory)


def write_pictures(directory: Path, count: int = 6) -> Path:
    """Write noisy pictures in one of three colours, of several shapes, and the lines of a task."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    lines = []
    for number in range(count):
        pixels = rng.integers(0, 60, (20 + number, 30, 3), np.uint8)
        pixels[..., number % 3] += 150
        Image.fromarray(pixels).save(directory / f"{number}.png")
        lines.append(json.dumps({"image": f"{number}.png", "label": WORDS[number % 3]}))
    (directory / "pictures.jsonl").write_text("\n".join(lines) + "\n")
    return directory / "pictures.jsonl"
