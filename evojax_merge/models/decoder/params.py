"""Where each tensor of a decoder checkpoint lives in the parameter tree, and what it is for."""

import re

from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.groups import Group

# Path in the tree -> Hugging Face name; a path with "{layer}" in its name is stacked over layers.
_LAYER = "model.layers.{layer}."
NAMES = {
    "embed_tokens.weight": "model.embed_tokens.weight",
    "layers.input_layernorm.weight": _LAYER + "input_layernorm.weight",
    "layers.self_attn.q_proj.weight": _LAYER + "self_attn.q_proj.weight",
    "layers.self_attn.q_proj.bias": _LAYER + "self_attn.q_proj.bias",
    "layers.self_attn.q_norm.weight": _LAYER + "self_attn.q_norm.weight",
    "layers.self_attn.k_proj.weight": _LAYER + "self_attn.k_proj.weight",
    "layers.self_attn.k_proj.bias": _LAYER + "self_attn.k_proj.bias",
    "layers.self_attn.k_norm.weight": _LAYER + "self_attn.k_norm.weight",
    "layers.self_attn.v_proj.weight": _LAYER + "self_attn.v_proj.weight",
    "layers.self_attn.v_proj.bias": _LAYER + "self_attn.v_proj.bias",
    "layers.self_attn.o_proj.weight": _LAYER + "self_attn.o_proj.weight",
    "layers.self_attn.o_proj.bias": _LAYER + "self_attn.o_proj.bias",
    "layers.post_attention_layernorm.weight": _LAYER + "post_attention_layernorm.weight",
    "layers.mlp.gate_proj.weight": _LAYER + "mlp.gate_proj.weight",
    "layers.mlp.gate_proj.bias": _LAYER + "mlp.gate_proj.bias",
    "layers.mlp.up_proj.weight": _LAYER + "mlp.up_proj.weight",
    "layers.mlp.up_proj.bias": _LAYER + "mlp.up_proj.bias",
    "layers.mlp.down_proj.weight": _LAYER + "mlp.down_proj.weight",
    "layers.mlp.down_proj.bias": _LAYER + "mlp.down_proj.bias",
    "norm.weight": "model.norm.weight",
    "lm_head.weight": "lm_head.weight",
}

# Buffers that older checkpoints carry and that are recomputed from the configuration.
BUFFERS = re.compile(r"(.*\.)?rotary_emb\.inv_freq")

_GROUPS: tuple[tuple[str, Group], ...] = (
    ("embed_tokens", "embedding"),
    ("lm_head", "head"),
    ("norm", "norm"),
    ("self_attn", "attention"),
    ("mlp", "mlp"),
)


def group(path: str) -> Group:
    """Parameter group of a leaf, by the first of ``_GROUPS`` that ends a part of its path."""
    parts = path.split(".")
    return next(name for key, name in _GROUPS if any(part.endswith(key) for part in parts))


def aliases(config: DecoderConfig) -> dict[str, str]:
    """Names a tied checkpoint may store besides -> the name whose tensor they repeat."""
    if config.tie_word_embeddings:
        return {NAMES["lm_head.weight"]: NAMES["embed_tokens.weight"]}
    return {}


def linear_inputs(config: DecoderConfig) -> dict[str, str]:
    """Weight of each linear layer -> the layer that stands for all that read the same input."""
    readers = {
        "layers.self_attn.q_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "layers.self_attn.o_proj": ("self_attn.o_proj",),
        "layers.mlp.gate_proj": ("mlp.gate_proj", "mlp.up_proj"),
        "layers.mlp.down_proj": ("mlp.down_proj",),
    }
    found = {f"layers.{name}.weight": path for path, names in readers.items() for name in names}
    return found if config.tie_word_embeddings else found | {"lm_head.weight": "lm_head"}


def vocabulary_paths(config: DecoderConfig) -> tuple[str, ...]:
    """Leaves with one row per token."""
    if config.tie_word_embeddings:
        return ("embed_tokens.weight",)
    return ("embed_tokens.weight", "lm_head.weight")


def hf_fields(config: DecoderConfig) -> dict[str, object]:
    """Fields of ``config.json`` that a merge may have changed."""
    return {
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": config.tie_word_embeddings,
        "num_hidden_layers": config.num_layers,
    }
