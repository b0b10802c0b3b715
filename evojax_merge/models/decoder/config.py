"""What distinguishes one decoder from another, read from its ``config.json``."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Self

from evojax_merge.documents.errors import shown
from evojax_merge.documents.schema import Document, number, read, whole
from evojax_merge.models.decoder.rope_config import RopeConfig, read_ropes
from evojax_merge.models.decoder.variants import (
    OWN_FIELDS,
    LayerNorms,
    NormKind,
    QKNorm,
    variant_of,
)
from evojax_merge.models.decoder.windows import layer_windows

_ACTIVATIONS = ("silu", "gelu", "gelu_pytorch_tanh", "gelu_new", "relu")


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """A decoder with rotary attention and a gated MLP.

    Attributes:
        windows: The sliding window of each layer in tokens, or None where it attends to all.
        rope: The RoPE of all layers, or of those without a window where ``local_rope`` is given.
        local_rope: The RoPE of the layers with a window, or None where it is the same.
        norm: The kind of every norm (see `variants`).
        norms: The names of a layer's norms.
        qk_norm: The norms of queries and keys.
        fused: Whether queries, keys and values come from one projection, and gate and up from
            another.
        rope_float32: Whether queries and keys are turned in float32.
        attention_scale: The scale of the products of queries and keys. None stands for
            1 / √head_dim.
        attention_soft_cap: The c of c · tanh(scores / c), if scores are capped.
        logit_soft_cap: The c of c · tanh(logits / c), if logits are capped.
        embedding_scale: The factor of embeddings, if they have one.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float
    hidden_act: str
    qkv_bias: bool
    o_bias: bool
    mlp_bias: bool
    qk_norm: QKNorm
    tie_word_embeddings: bool
    windows: tuple[int | None, ...]
    rope: RopeConfig
    local_rope: RopeConfig | None
    norm: NormKind
    norms: LayerNorms
    fused: bool
    rope_float32: bool
    attention_scale: float | None
    attention_soft_cap: float | None
    logit_soft_cap: float | None
    embedding_scale: float | None

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """Read the ``config.json`` of a type in the table `variants`.

        Raises:
            ValueError: The type, its activation, its RoPE scaling, or a field that changes what is
                computed is not supported.
        """
        variant = variant_of(config)
        for name, allowed in variant.refused.items():
            if config.get(name) not in allowed:
                raise ValueError(
                    f"config.json: {name} {shown(config[name])} is not supported for a model_type "
                    f"{config['model_type']}; leave it out"
                )
        never_null = {n for n, field in _Written.model_fields.items() if field.default is not None}
        silent = {name for name in never_null if config.get(name) is None}
        silent |= set(OWN_FIELDS) - variant.defaults.keys()
        said = {name: value for name, value in config.items() if name not in silent}
        full = {**variant.defaults, **said}
        given = read(_Written, full, "config.json")
        activation = getattr(given, variant.activation)
        if activation not in _ACTIVATIONS:
            raise ValueError(
                f"config.json: {variant.activation} {shown(activation)} is not supported; "
                f"supported are {', '.join(_ACTIVATIONS)}"
            )
        heads, kv_heads, head_dim = _heads(given)
        rope, local_rope = read_ropes(full, variant, head_dim, given.max_position_embeddings)

        def has(bias: bool | str) -> bool:
            return bool(getattr(given, bias)) if isinstance(bias, str) else bias

        before_attention = given.query_pre_attn_scalar
        return cls(
            vocab_size=given.vocab_size,
            hidden_size=given.hidden_size,
            intermediate_size=given.intermediate_size,
            num_layers=given.num_hidden_layers,
            num_heads=heads,
            num_kv_heads=kv_heads,
            head_dim=head_dim,
            max_position_embeddings=given.max_position_embeddings,
            rms_norm_eps=given.rms_norm_eps,
            hidden_act=activation,
            qkv_bias=has(variant.qkv_bias),
            o_bias=has(variant.o_bias),
            mlp_bias=has(variant.mlp_bias),
            qk_norm=variant.qk_norm,
            tie_word_embeddings=given.tie_word_embeddings,
            windows=layer_windows({"model_type": config["model_type"], **given.model_dump()}),
            rope=rope,
            local_rope=local_rope,
            norm=variant.norm,
            norms=variant.norms,
            fused=variant.fused,
            rope_float32=variant.rope_float32,
            attention_scale=None if before_attention is None else before_attention**-0.5,
            attention_soft_cap=given.attn_logit_softcapping,
            logit_soft_cap=given.final_logit_softcapping,
            embedding_scale=given.hidden_size**0.5 if variant.scaled_embedding else None,
        )


_Size = Annotated[int, whole(1, 2**24)]
_Positive = Annotated[float, number(1e-30, 1e30)]
_Tokens = Annotated[int, whole(1)]


class _Written(Document):
    """The fields of ``config.json``. Where the default is not null, null says nothing."""

    vocab_size: _Size
    hidden_size: _Size
    intermediate_size: _Size
    num_hidden_layers: Annotated[int, whole(1, 10_000)]
    num_attention_heads: Annotated[int, whole(1, 2**16)]
    num_key_value_heads: Annotated[int, whole(1, 2**16)] | None = None
    head_dim: Annotated[int, whole(1, 2**16)] | None = None
    max_position_embeddings: _Tokens
    rms_norm_eps: Annotated[float, number(1e-30, 1)] = 1e-6
    hidden_act: str = "silu"
    hidden_activation: str = "gelu_pytorch_tanh"
    attention_bias: bool | None = None
    mlp_bias: bool | None = None
    tie_word_embeddings: bool = False
    use_sliding_window: bool | None = None
    sliding_window: _Tokens | None = None
    max_window_layers: Annotated[int, whole()] = 0
    sliding_window_pattern: Annotated[int, whole(1)] = 1
    query_pre_attn_scalar: _Positive | None = None
    attn_logit_softcapping: _Positive | None = None
    final_logit_softcapping: _Positive | None = None
    layer_types: list[str] | None = None


def _heads(given: _Written) -> tuple[int, int, int]:
    """Return the numbers of heads, of heads of keys and values, and of channels of each."""
    heads = given.num_attention_heads
    kv_heads = given.num_key_value_heads or heads
    if heads % kv_heads:
        raise ValueError(
            f"config.json: num_attention_heads is {heads}, no multiple of the {kv_heads} "
            "num_key_value_heads"
        )
    if given.head_dim is None and given.hidden_size % heads:
        raise ValueError(
            f"config.json: hidden_size is {given.hidden_size}, no multiple of the {heads} "
            "num_attention_heads, and there is no head_dim"
        )
    head_dim = given.head_dim or given.hidden_size // heads
    if head_dim % 2:
        raise ValueError(
            f"config.json: heads have {head_dim} channels; rotary embeddings need an even number"
        )
    return heads, kv_heads, head_dim
