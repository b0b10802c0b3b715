"""Tiny random pipelines that draw: with tokenizers that read, and weights that blow nothing up."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import CLIPTokenizer

from tests.pipelines_factory import pipeline_configs, pipeline_tensors, write_folder

LETTERS = "abcdefghijklmnopqrstuvwxyz"
START, END = "<|startoftext|>", "<|endoftext|>"


def tokens_of(letters: str) -> list[str]:
    """The tokens of a tokenizer of letters, of which each ends a word or does not."""
    return [*letters, *(f"{letter}</w>" for letter in letters), START, END]


TOKENS = tokens_of(LETTERS)
SMALL = {
    "unet": {
        "block_out_channels": [8, 16],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 1,
        "transformer_layers_per_block": [1, 2],
        "attention_head_dim": [1, 2],
    },
    "vae": {
        "block_out_channels": [8, 8],
        "down_block_types": ["DownEncoderBlock2D"] * 2,
        "up_block_types": ["UpDecoderBlock2D"] * 2,
        "layers_per_block": 1,
    },
}
"""Changes of SDXL's configurations that leave two levels, which compile in seconds."""

LENGTH = 20
"""How many tokens the text encoders read."""


def drawing_configs(kind: str = "SDXL", **changes: Any) -> dict[str, dict[str, Any]]:
    """The configurations of the parts, whose text encoders read `TOKENS`."""
    found = pipeline_configs(kind)
    for part, own in changes.items():
        found[part] |= own
    for name in ("text_encoder", "text_encoder_2"):
        if name in found:
            found[name] |= {
                "vocab_size": len(TOKENS),
                "max_position_embeddings": LENGTH,
                "bos_token_id": len(TOKENS) - 2,
                "eos_token_id": len(TOKENS) - 1,
                "pad_token_id": len(TOKENS) - 1,
            }
    return found


def calm(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same random weights, scaled so that no layer makes numbers much larger."""
    found = {}
    for name, tensor in tensors.items():
        noise = tensor / np.float32(0.3)
        if tensor.ndim > 1:
            noise = noise / np.float32(np.sqrt(tensor[0].size))
        elif "norm" in name and name.endswith("weight"):
            noise = 1 + np.float32(0.1) * noise
        else:
            noise = np.float32(0.1) * noise
        found[name] = noise.astype(np.float32)
    return found


def make_tokenizer(tokens: Sequence[str], length: int, pad: str = END) -> CLIPTokenizer:
    """A CLIP tokenizer of single letters, which makes prompts as long as ``length`` tokens."""
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], pad_token=pad, model_max_length=length)


def write_tokenizer(directory: Path, pad: str = END) -> None:
    """Write a tokenizer of single letters, as those of CLIP are written."""
    tokenizer = make_tokenizer(TOKENS, LENGTH, pad)
    for file in directory.glob("*"):
        file.unlink()
    tokenizer.save_pretrained(directory)
    (directory / "vocab.json").write_text(json.dumps(tokenizer.get_vocab()))
    (directory / "merges.txt").write_text("#version: 0.2\n")


def write_drawing_pipeline(
    directory: Path, kind: str = "SDXL", seed: int = 0, **changes: Any
) -> Path:
    """Write a pipeline of random weights as a folder of diffusers.

    Args:
        directory: The folder.
        kind: An architecture of `evojax_merge.models.diffusion.architectures`.
        seed: The seed of the weights.
        changes: Changes of the configurations of parts, by part.
    """
    configs = drawing_configs(kind, **changes)
    write_folder(directory, configs, calm(pipeline_tensors(configs, seed)))
    for name in ("tokenizer", "tokenizer_2"):
        if (directory / name).is_dir():
            write_tokenizer(directory / name, "a" if name == "tokenizer_2" else END)
    return directory
