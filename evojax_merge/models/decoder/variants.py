"""What distinguishes the decoders of one ``model_type`` from those of another, in a row for each.

Nothing else asks for the type of a model. A row says what its layers compute and how its
``config.json`` is read. Adding a type is adding a row. The facts are those of transformers 5.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from evojax_merge.documents.errors import shown

NormKind = Literal["rms", "rms_float32", "rms_plus_one"]
"""How a norm applies its weight w to x / rms(x). ``rms`` rounds to the dtype of x, then applies w.
``rms_float32`` applies w in float32, then rounds. ``rms_plus_one`` does so with 1 + w."""

QKNorm = Literal["none", "head", "projection"]
"""Queries and keys have no norm, one over the channels of each head, or one over all heads."""


class LayerNorms(NamedTuple):
    """The names of a layer's norms by where they stand, or None where there is none.

    Attributes:
        attention_input: The norm of the copy of the residual stream that attention reads.
        attention_output: The norm of what attention adds to the stream.
        mlp_input: The norm of the copy of the stream that the MLP reads.
        mlp_output: The norm of what the MLP adds to the stream.
    """

    attention_input: str | None
    attention_output: str | None
    mlp_input: str | None
    mlp_output: str | None


BEFORE = LayerNorms("input_layernorm", None, "post_attention_layernorm", None)
AFTER = LayerNorms(None, "post_attention_layernorm", None, "post_feedforward_layernorm")
AROUND = LayerNorms(
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)


class Windows(NamedTuple):
    """Which layers have the sliding window of a ``config.json``.

    Attributes:
        slides: A function: (fields of ``config.json``, layer) -> whether the layer has the window,
            where ``layer_types`` says nothing.
        needed: Whether a layer that slides must have a window. Where it is false, a
            ``sliding_window`` of null takes the windows from all layers.
        switch: The field that must be true for any layer to have a window.
        by_layer: Whether ``layer_types`` is heeded.
        explicit_head_dim: Whether a ``config.json`` with ``layer_types`` must give ``head_dim``
            too, since transformers then computes another type, which does not derive it.
    """

    slides: Callable[[Mapping[str, Any], int], bool]
    needed: bool = False
    switch: str | None = None
    by_layer: bool = True
    explicit_head_dim: bool = False


OWN_FIELDS = ("query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping")
"""The fields that change what some types compute, and that others pass over."""

_SCALINGS = ("default", "linear", "dynamic", "llama3", "yarn")


@dataclasses.dataclass(frozen=True)
class Variant:
    """A variant is the row of one ``model_type``.

    Attributes:
        defaults: What transformers assumes where a ``config.json`` is silent, beyond what is common
            to all types. The fields ``OWN_FIELDS`` count only in types that name them here.
        refused: The fields that change what is computed -> their values that are computed here.
        norm: The kind of every norm.
        norms: The names of a layer's norms.
        qk_norm: The norms of queries and keys.
        fused: Whether queries, keys and values come from one projection, and gate and up from
            another.
        qkv_bias: Whether the projections of queries, keys and values have a bias, or the field that
            says so.
        o_bias: Whether the output projection of attention has a bias, or the field that says so.
        mlp_bias: Whether the projections of the MLP have a bias, or the field that says so.
        activation: The field that names the activation of the MLP.
        scaled_embedding: Whether embeddings are multiplied by the root of the hidden size.
        windows: The sliding windows, or None where no layer has one.
        rope_kinds: The kinds of RoPE that are computed.
        rope_float32: Whether queries and keys are turned in float32.
        partial_rotary: Whether ``partial_rotary_factor`` may turn only a part of the channels.
        outer_original: Whether ``original_max_position_embeddings`` counts where it stands beside
            RoPE's fields, and not among them.
        theta: The base of RoPE.
        local_theta: The base of RoPE in layers with a window, which is read apart, or None where
            all layers have the same RoPE.
    """

    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    refused: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    norm: NormKind = "rms"
    norms: LayerNorms = BEFORE
    qk_norm: QKNorm = "none"
    fused: bool = False
    qkv_bias: bool | str = False
    o_bias: bool | str = False
    mlp_bias: bool | str = False
    activation: str = "hidden_act"
    scaled_embedding: bool = False
    windows: Windows | None = None
    rope_kinds: tuple[str, ...] = _SCALINGS
    rope_float32: bool = False
    partial_rotary: bool = False
    outer_original: bool = False
    theta: float = 10_000.0
    local_theta: float | None = None


def _every(config: Mapping[str, Any], layer: int) -> bool:
    return True


def _deep(config: Mapping[str, Any], layer: int) -> bool:
    return layer >= int(config["max_window_layers"])


def _alternating(config: Mapping[str, Any], layer: int) -> bool:
    return layer % 2 == 0


def _but_each_nth(config: Mapping[str, Any], layer: int) -> bool:
    return (layer + 1) % int(config["sliding_window_pattern"]) != 0


_QWEN = {
    "max_position_embeddings": 32_768,
    "num_key_value_heads": 32,
    "sliding_window": 4096,
    "max_window_layers": 28,
}
_GEMMA = {
    "num_key_value_heads": 4,
    "head_dim": 256,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "tie_word_embeddings": True,
}
_CAUSAL = {"use_bidirectional_attention": (None, False)}
_QWEN_WINDOWS = Windows(_deep, switch="use_sliding_window")

VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "llama": Variant(
            defaults={"max_position_embeddings": 2048},
            qkv_bias="attention_bias",
            o_bias="attention_bias",
            mlp_bias="mlp_bias",
        ),
        # With ``layer_types`` it is computed as a Ministral.
        "mistral": Variant(
            defaults={
                "max_position_embeddings": 131_072,
                "num_key_value_heads": 8,
                "sliding_window": 4096,
            },
            windows=Windows(_every, explicit_head_dim=True),
        ),
        "qwen2": Variant(defaults=_QWEN, qkv_bias=True, windows=_QWEN_WINDOWS),
        "qwen3": Variant(
            defaults={**_QWEN, "head_dim": 128},
            qkv_bias="attention_bias",
            o_bias="attention_bias",
            qk_norm="head",
            windows=_QWEN_WINDOWS,
        ),
        "gemma2": Variant(
            defaults={
                **_GEMMA,
                "max_position_embeddings": 8192,
                "attn_logit_softcapping": 50.0,
                "final_logit_softcapping": 30.0,
            },
            refused=_CAUSAL,
            norm="rms_plus_one",
            norms=AROUND,
            qkv_bias="attention_bias",
            o_bias="attention_bias",
            activation="hidden_activation",
            scaled_embedding=True,
            windows=Windows(_alternating, needed=True),
        ),
        # transformers reads its attn_logit_softcapping, and computes nothing with it.
        "gemma3_text": Variant(
            defaults={
                **_GEMMA,
                "max_position_embeddings": 131_072,
                "final_logit_softcapping": None,
                "sliding_window_pattern": 6,
            },
            refused={**_CAUSAL, "attn_logit_softcapping": (None,)},
            norm="rms_plus_one",
            norms=AROUND,
            qk_norm="head",
            qkv_bias="attention_bias",
            o_bias="attention_bias",
            activation="hidden_activation",
            scaled_embedding=True,
            windows=Windows(_but_each_nth, needed=True),
            theta=1_000_000.0,
            local_theta=10_000.0,
        ),
        "phi3": Variant(
            defaults={
                "max_position_embeddings": 4096,
                "original_max_position_embeddings": 4096,
                "rms_norm_eps": 1e-5,
            },
            fused=True,
            windows=Windows(_every, by_layer=False),
            rope_kinds=("default", "longrope"),
            partial_rotary=True,
            outer_original=True,
        ),
        "olmo2": Variant(
            defaults={"max_position_embeddings": 2048, "rms_norm_eps": 1e-5},
            norm="rms_float32",
            norms=AFTER,
            qk_norm="projection",
            qkv_bias="attention_bias",
            o_bias="attention_bias",
            rope_float32=True,
        ),
    }
)

MODEL_TYPES = tuple(VARIANTS)


def variant_of(hf_config: Mapping[str, Any]) -> Variant:
    """Return the row of a ``config.json``.

    Raises:
        ValueError: There is no row for its ``model_type``.
    """
    kind = hf_config.get("model_type")
    if not isinstance(kind, str) or kind not in VARIANTS:
        raise ValueError(
            f"config.json: model_type {shown(kind)} is not a supported decoder; "
            f"supported are {', '.join(MODEL_TYPES)}"
        )
    return VARIANTS[kind]
