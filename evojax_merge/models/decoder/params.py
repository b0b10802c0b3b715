"""The place of each tensor of a decoder checkpoint in the parameter tree, its shape and its use."""

import functools
import re

from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.layout import Layout, Leaf, Place, Stack
from evojax_merge.params.types import Params

STACK = "layers"
"""The name of the one stack of layers."""

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
    "layers.self_attn.qkv_proj.weight": _LAYER + "self_attn.qkv_proj.weight",
    "layers.self_attn.qkv_proj.bias": _LAYER + "self_attn.qkv_proj.bias",
    "layers.post_attention_layernorm.weight": _LAYER + "post_attention_layernorm.weight",
    "layers.pre_feedforward_layernorm.weight": _LAYER + "pre_feedforward_layernorm.weight",
    "layers.post_feedforward_layernorm.weight": _LAYER + "post_feedforward_layernorm.weight",
    "layers.mlp.gate_proj.weight": _LAYER + "mlp.gate_proj.weight",
    "layers.mlp.gate_proj.bias": _LAYER + "mlp.gate_proj.bias",
    "layers.mlp.up_proj.weight": _LAYER + "mlp.up_proj.weight",
    "layers.mlp.up_proj.bias": _LAYER + "mlp.up_proj.bias",
    "layers.mlp.gate_up_proj.weight": _LAYER + "mlp.gate_up_proj.weight",
    "layers.mlp.gate_up_proj.bias": _LAYER + "mlp.gate_up_proj.bias",
    "layers.mlp.down_proj.weight": _LAYER + "mlp.down_proj.weight",
    "layers.mlp.down_proj.bias": _LAYER + "mlp.down_proj.bias",
    "norm.weight": "model.norm.weight",
    "lm_head.weight": "lm_head.weight",
}

# Buffers that older checkpoints carry and that are recomputed from the configuration.
BUFFERS = re.compile(r"(.*\.)?rotary_emb\.inv_freq")

_GROUPS = (
    ("embed_tokens", "embedding"),
    ("lm_head", "head"),
    ("norm", "norm"),
    ("self_attn", "attention"),
    ("mlp", "mlp"),
)


# The weight of each linear layer -> the layer that stands for all that read the same input.
_READS = {
    f"layers.{name}.weight": f"layers.{first}"
    for first, names in {
        "self_attn.q_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "self_attn.qkv_proj": ("self_attn.qkv_proj",),
        "self_attn.o_proj": ("self_attn.o_proj",),
        "mlp.gate_up_proj": ("mlp.gate_up_proj",),
        "mlp.gate_proj": ("mlp.gate_proj", "mlp.up_proj"),
        "mlp.down_proj": ("mlp.down_proj",),
    }.items()
    for name in names
} | {"lm_head.weight": "lm_head"}


_SUMMED = ("o_proj.weight", "down_proj.weight")
"""The weights whose inputs are split, as they read what split heads and split products give."""


def _shapes(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """Map each leaf's path to its shape, in tree order. Stacked ones begin with the layers."""
    c = config
    queries, keys = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
    linear: list[tuple[str, int, int, bool]]
    if c.fused:
        linear = [
            ("self_attn.qkv_proj", queries + 2 * keys, c.hidden_size, c.qkv_bias),
            ("mlp.gate_up_proj", 2 * c.intermediate_size, c.hidden_size, c.mlp_bias),
        ]
    else:
        linear = [
            ("self_attn.q_proj", queries, c.hidden_size, c.qkv_bias),
            ("self_attn.k_proj", keys, c.hidden_size, c.qkv_bias),
            ("self_attn.v_proj", keys, c.hidden_size, c.qkv_bias),
            ("mlp.gate_proj", c.intermediate_size, c.hidden_size, c.mlp_bias),
            ("mlp.up_proj", c.intermediate_size, c.hidden_size, c.mlp_bias),
        ]
    linear += [
        ("self_attn.o_proj", c.hidden_size, queries, c.o_bias),
        ("mlp.down_proj", c.hidden_size, c.intermediate_size, c.mlp_bias),
    ]
    layer: dict[str, tuple[int, ...]] = {f"{n}.weight": (o, i) for n, o, i, _ in linear}
    layer |= {f"{name}.bias": (outputs,) for name, outputs, _, bias in linear if bias}
    layer |= {f"{name}.weight": (c.hidden_size,) for name in c.norms if name is not None}
    if c.qk_norm != "none":
        whole = c.qk_norm == "projection"
        layer |= {
            "self_attn.q_norm.weight": (queries if whole else c.head_dim,),
            "self_attn.k_norm.weight": (keys if whole else c.head_dim,),
        }
    found = {f"layers.{name}": (c.num_layers, *shape) for name, shape in layer.items()}
    table = (c.vocab_size, c.hidden_size)
    found |= {"embed_tokens.weight": table, "norm.weight": (c.hidden_size,)}
    if not c.tie_word_embeddings:
        found["lm_head.weight"] = table
    return dict(sorted(found.items()))


@functools.cache
def layout(config: DecoderConfig) -> Layout:
    """Make the layout, which has one stack of layers.

    Embeddings count as part of the first layer, and what else is in none as part of the last. A
    checkpoint of a tied model may also store the head, as a copy of the embedding.
    """
    tied = config.tie_word_embeddings
    leaves = {path: _leaf(path, shape) for path, shape in _shapes(config).items()}
    return Layout(
        leaves,
        {STACK: Stack(STACK, config.num_layers, unrolled=True, heads=config.num_kv_heads)},
        {NAMES["lm_head.weight"]: NAMES["embed_tokens.weight"]} if tied else {},
    )


def is_unrolled(params: Params) -> bool:
    """Tell whether parameters have each layer in buffers of its own (see `Layout.unroll`)."""
    return isinstance(params[STACK], tuple)


def _leaf(path: str, shape: tuple[int, ...]) -> Leaf:
    group = _group(path)
    place: Place = "first" if group == "embedding" else "last"
    return Leaf(
        shape=shape,
        tensor=NAMES[path],
        group=group,
        stack=STACK,
        place="each" if path.startswith(STACK + ".") else place,
        token_table=group in ("embedding", "head"),
        reads=_READS.get(path),
        split=-1 if path.endswith(_SUMMED) else None,
    )


def _group(path: str) -> str:
    """Return the group of a leaf, by the first of ``_GROUPS`` that ends a part of its path."""
    parts = path.split(".")
    return next(name for key, name in _GROUPS if any(part.endswith(key) for part in parts))


def hf_fields(config: DecoderConfig) -> dict[str, object]:
    """Return the fields of ``config.json`` that a merge may have changed."""
    return {
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": config.tie_word_embeddings,
        "num_hidden_layers": config.num_layers,
    }
