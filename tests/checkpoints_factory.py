"""Tiny random checkpoints in Hugging Face's layout, written with NumPy alone."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from evojax_merge.models import family_of

VOCAB = 64

_COMMON: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

_ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
}
_CHANGES: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": None},
    "qwen3": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "query_pre_attn_scalar": 12, "sliding_window": 4},
    "gemma3_text": {
        "head_dim": 8,
        "query_pre_attn_scalar": 12,
        "sliding_window": 4,
        "sliding_window_pattern": 2,
    },
    "phi3": {"original_max_position_embeddings": 64},
}


def tiny_config(model_type: str = "llama", **changes: Any) -> dict[str, Any]:
    """A ``config.json`` of three layers of width 32; ``None`` in ``changes`` is written as null."""
    config = {"model_type": model_type, "architectures": [_ARCHITECTURES[model_type]], **_COMMON}
    return config | _CHANGES.get(model_type, {}) | changes


def mlp_config(*sizes: int) -> dict[str, Any]:
    return {"model_type": "mlp", "hidden_sizes": list(sizes)}


def random_tensors(
    hf_config: Mapping[str, Any], seed: int = 0, dtype: Any = np.float32
) -> dict[str, np.ndarray]:
    """Tensors by name; norms and biases are random too, as a fresh model's are not."""
    family = family_of(hf_config)
    config = family.config_from_hf(hf_config)
    middle = 0 if getattr(config, "norm", None) == "rms_plus_one" else 1
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, slot in family.layout(config).slots.items():
        noise = rng.standard_normal(slot.shape)
        if len(slot.shape) > 1:
            value = noise / np.sqrt(slot.shape[-1])
        elif name.endswith("bias"):
            value = 0.3 * noise
        else:
            value = middle + 0.3 * noise
        tensors[name] = value.astype(dtype)
    return tensors


def write_checkpoint(
    directory: Path,
    hf_config: Mapping[str, Any],
    *,
    tensors: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    dtype: Any = np.float32,
    tokenizer: PreTrainedTokenizerFast | None = None,
    shards: int = 1,
) -> Path:
    """Write a checkpoint directory and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(hf_config))
    tensors = random_tensors(hf_config, seed, dtype) if tensors is None else tensors
    if shards == 1:
        save_file(dict(tensors), directory / "model.safetensors", metadata={"format": "pt"})
    else:
        write_shards(directory, tensors, shards)
    if tokenizer is not None:
        tokenizer.save_pretrained(directory)
    return directory


def write_shards(directory: Path, tensors: Mapping[str, np.ndarray], shards: int) -> None:
    """Deal tensors round robin into ``shards`` files and index them."""
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in list(tensors)[shard::shards]}
        save_file(part, directory / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def word_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """A fast tokenizer that splits at spaces; ids are the order of ``words``."""
    specials = ["<pad>", "<s>", "</s>", "<unk>"]
    vocabulary = {word: number for number, word in enumerate([*specials, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A fast byte-level tokenizer: 4 special tokens and 256 bytes."""
    specials = ["<pad>", "<s>", "</s>", "<unk>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*specials, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def write_family(folder: Path, **config: Any) -> dict[str, Path]:
    """A base and two fine-tunes of it, ``a`` and ``b``, of two layers, with a tokenizer."""
    tokenizer = byte_tokenizer()
    hf_config = tiny_config(vocab_size=len(tokenizer), num_hidden_layers=2, **config)
    base = random_tensors(hf_config, 0)
    found = {}
    for seed, name in enumerate(("base", "a", "b")):
        noise = random_tensors(hf_config, seed)
        tensors = {key: base[key] + 0.1 * seed * noise[key] for key in base}
        found[name] = write_checkpoint(
            folder / name, hf_config, tensors=tensors, tokenizer=tokenizer
        )
    return found
