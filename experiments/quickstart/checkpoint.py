"""The quickstart's architecture, and its parameters written as a Hugging Face directory."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from transformers import GenerationConfig, LlamaConfig, PreTrainedTokenizerFast

from evojax_merge.params.tree import flatten
from evojax_merge.params.types import Params

LAYERS = 4
LONGEST_ANSWER = 24


def llama_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """A Llama of 0.8 M parameters."""
    return LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=128,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        dtype="float32",
    )


def save_checkpoint(
    directory: Path, params: Params, config: LlamaConfig, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Write config, weights, tokenizer and generation settings."""
    directory.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    GenerationConfig(
        do_sample=False,
        max_new_tokens=LONGEST_ANSWER,
        pad_token_id=config.pad_token_id,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
    ).save_pretrained(directory)
    save_file(named_tensors(params), directory / "model.safetensors", metadata={"format": "pt"})


def named_tensors(params: Params) -> dict[str, np.ndarray]:
    """Tensors by their Hugging Face names, one per layer."""
    tensors = {}
    for path, leaf in flatten(params).items():
        values = np.asarray(leaf)
        if path.startswith("layers."):
            name = path.removeprefix("layers.")
            for layer, matrix in enumerate(values):
                tensors[f"model.layers.{layer}.{name}"] = np.ascontiguousarray(matrix)
        else:
            prefix = "" if path.startswith("lm_head.") else "model."
            tensors[prefix + path] = np.ascontiguousarray(values)
    return tensors
