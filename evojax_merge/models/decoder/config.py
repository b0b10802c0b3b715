"""What distinguishes one pre-norm decoder from another, read from its ``config.json``."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from evojax_merge.documents.errors import shown
from evojax_merge.documents.schema import Document, number, read, whole

MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")

# What transformers assumes where a config.json is silent, beyond what all four share.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {"max_position_embeddings": 2048},
    "mistral": {
        "max_position_embeddings": 131_072,
        "num_key_value_heads": 8,
        "sliding_window": 4096,
    },
    "qwen2": {
        "max_position_embeddings": 32_768,
        "num_key_value_heads": 32,
        "sliding_window": 4096,
        "max_window_layers": 28,
    },
    "qwen3": {
        "max_position_embeddings": 32_768,
        "num_key_value_heads": 32,
        "sliding_window": 4096,
        "max_window_layers": 28,
        "head_dim": 128,
    },
}
_ACTIVATIONS = ("silu", "gelu", "gelu_pytorch_tanh", "gelu_new", "relu")
_ROPE_NEEDS: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor",),
}


@dataclasses.dataclass(frozen=True)
class RopeConfig:
    """Rotary position embedding and its extension to longer contexts.

    ``kind`` is one of ``default``, ``linear``, ``dynamic``, ``llama3``, ``yarn``; the other fields
    carry the names of Hugging Face's ``rope_parameters``.
    """

    theta: float = 10_000.0
    kind: str = "default"
    factor: float = 1.0
    original_max_position_embeddings: int | None = None
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """Read either spelling: ``rope_parameters`` (v5) or ``rope_theta`` and ``rope_scaling``.

        Raises:
            ValueError: The scaling is of a kind this family does not compute, lacks a number, or
                has one that means nothing.
        """
        name = "rope_parameters" if config.get("rope_parameters") else "rope_scaling"
        written = config.get(name) or {}
        where = f"config.json, {name}"
        if isinstance(written, Mapping) and any(isinstance(v, Mapping) for v in written.values()):
            raise ValueError(
                f"{where}: RoPE that differs between layers is not supported; supported is one of "
                f"{', '.join(_ROPE_NEEDS)} for all layers"
            )
        outer = read(_RopeBeside, config, "config.json")
        given = read(_Rope, written, where)
        kind = given.rope_type or given.type or "default"
        if kind not in _ROPE_NEEDS:
            raise ValueError(
                f"{where}: RoPE of type {shown(kind)} is not supported; supported is one of "
                f"{', '.join(_ROPE_NEEDS)} for all layers"
            )
        if {given.partial_rotary_factor, outer.partial_rotary_factor} - {None, 1.0}:
            raise ValueError("config.json: partial_rotary_factor other than 1 is not supported")
        lacking = [name for name in _ROPE_NEEDS[kind] if getattr(given, name) is None]
        if lacking:
            raise ValueError(f"{where}: RoPE of type {kind!r} lacks {', '.join(lacking)}")
        names = {field.name for field in dataclasses.fields(cls)} - {"theta", "kind"}
        taken = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
        theta = given.rope_theta or outer.rope_theta or cls.theta
        rope = cls(theta=theta, kind=kind, **taken)
        if kind == "llama3" and not rope.low_freq_factor < rope.high_freq_factor:
            raise ValueError(
                f"{where}: low_freq_factor is {rope.low_freq_factor:g} and high_freq_factor "
                f"{rope.high_freq_factor:g}; the low one must be smaller"
            )
        if kind == "yarn" and not theta > 1:
            raise ValueError(
                f"{where}: rope_theta is {theta:g}; RoPE of type 'yarn' needs it above 1"
            )
        return rope


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """A pre-norm decoder with rotary attention and a gated MLP.

    ``windows[i]`` is the sliding window of layer i in tokens, or None where it attends to all.
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
    qk_norm: bool
    tie_word_embeddings: bool
    windows: tuple[int | None, ...]
    rope: RopeConfig

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """Read a Llama, Mistral, Qwen2 or Qwen3 ``config.json``.

        Raises:
            ValueError: The family, its activation or its RoPE scaling is not supported.
        """
        family = config.get("model_type")
        if family not in MODEL_TYPES:
            raise ValueError(
                f"config.json: model_type {shown(family)} is not a supported decoder; "
                f"supported are {', '.join(MODEL_TYPES)}"
            )
        never_null = {n for n, field in _Written.model_fields.items() if field.default is not None}
        silent = {name for name in never_null if config.get(name) is None}
        said = {name: value for name, value in config.items() if name not in silent}
        given = read(_Written, {**_DEFAULTS[family], **said}, "config.json")
        if given.hidden_act not in _ACTIVATIONS:
            raise ValueError(
                f"config.json: hidden_act {shown(given.hidden_act)} is not supported; "
                f"supported are {', '.join(_ACTIVATIONS)}"
            )
        heads, kv_heads, head_dim = _heads(given)
        rope = RopeConfig.from_hf(config)
        if rope.kind == "dynamic" and head_dim == 2:
            raise ValueError("config.json: RoPE of type 'dynamic' needs a head_dim above 2")
        attention_bias = bool(given.attention_bias)
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
            hidden_act=given.hidden_act,
            qkv_bias=family == "qwen2" or (family != "mistral" and attention_bias),
            o_bias=family in ("llama", "qwen3") and attention_bias,
            mlp_bias=family == "llama" and bool(given.mlp_bias),
            qk_norm=family == "qwen3",
            tie_word_embeddings=bool(given.tie_word_embeddings),
            windows=_windows(family, given.model_dump()),
            rope=rope,
        )


_KINDS = ("full_attention", "sliding_attention")
_OLD_KINDS = {"attention": "full_attention"}
"""Names that transformers gave layers before, and gives up when it reads them."""


def _windows(family: str, config: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Sliding window of every layer, from ``layer_types`` or the older spellings.

    Facts of transformers 5: a Qwen has no window unless ``use_sliding_window`` is true; a Mistral
    with ``layer_types`` is computed as a Ministral, which has windows in some layers; a Llama has
    none.
    """
    layers = config["num_hidden_layers"]
    window = config.get("sliding_window")
    by_depth = family.startswith("qwen")
    if family == "llama" or (by_depth and not config.get("use_sliding_window", False)):
        window = None
    given = config.get("layer_types")
    if given is None:
        first = config["max_window_layers"] if by_depth else 0
        return tuple(window if layer >= first else None for layer in range(layers))
    kinds = [_OLD_KINDS.get(str(kind), kind) for kind in given] if isinstance(given, list) else []
    if len(kinds) != layers or not all(kind in _KINDS for kind in kinds):
        raise ValueError(
            f"config.json: layer_types must name {' or '.join(_KINDS)} for each of "
            f"the {layers} layers; got {given!r}"
        )
    sliding = [layer for layer, kind in enumerate(kinds) if kind == "sliding_attention"]
    if sliding and window is None:
        raise ValueError(
            "config.json: layer_types names sliding_attention for the layers "
            f"{listed_layers(sliding)}, but this {family} has no sliding window; "
            "name full_attention"
            + (", or give sliding_window" if family != "llama" else "")
            + (" and use_sliding_window: true" if by_depth else "")
        )
    return tuple(window if layer in sliding else None for layer in range(layers))


def window_fields(
    hf_config: Mapping[str, Any], windows: Sequence[int | None]
) -> dict[str, int | bool | list[str] | None]:
    """Entries of ``config.json`` from which these windows are read, here and by transformers.

    Args:
        hf_config: The ``config.json`` that they are put into.
        windows: Of every layer, in tokens; None where it attends to all.

    Raises:
        ValueError: No ``config.json`` of this family gives layers these windows; the message says
            which layers have which.
    """
    family = hf_config["model_type"]
    sizes = {window for window in windows if window is not None}
    if len(sizes) > 1 or (sizes and family == "llama"):
        of_layers = [
            f"layers {listed_layers([i for i, own in enumerate(windows) if own == size])}: {size}"
            for size in sorted(set(windows), key=lambda size: (size is None, size or 0))
        ]
        raise ValueError(
            f"no config.json of a {family} gives layers the sliding windows that these have "
            f"({'; '.join(of_layers)}); it has one window, in all layers or some of them"
        )
    silent = {**_DEFAULTS[family], **hf_config, "num_hidden_layers": len(windows)}
    silent.pop("layer_types", None)
    fields: dict[str, int | bool | list[str] | None] = {}
    if _windows(family, silent) != tuple(windows):
        fields["sliding_window"] = sizes.pop() if sizes else None
        if family.startswith("qwen"):
            fields["use_sliding_window"] = fields["sliding_window"] is not None
    if hf_config.get("layer_types") or _windows(family, silent | fields) != tuple(windows):
        fields["layer_types"] = [_KINDS[window is not None] for window in windows]
        if family == "mistral" and hf_config.get("head_dim") is None:
            # A Ministral, unlike a Mistral, does not derive it.
            heads = hf_config["num_attention_heads"]
            fields["head_dim"] = hf_config["hidden_size"] // heads
    return fields


def listed_layers(layers: Sequence[int]) -> str:
    """Numbers of layers, neighbours as a range."""
    parts: list[list[int]] = []
    for layer in layers:
        if parts and parts[-1][-1] == layer - 1:
            parts[-1].append(layer)
        else:
            parts.append([layer])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]} to {p[-1]}" for p in parts)


_Size = Annotated[int, whole(1, 2**24)]
_Positive = Annotated[float, number(1e-30, 1e30)]
_Tokens = Annotated[int, whole(1)]


class _Written(Document):
    """Fields of ``config.json``; of those with another default than null, null says nothing."""

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
    attention_bias: bool | None = None
    mlp_bias: bool | None = None
    tie_word_embeddings: bool | None = None
    use_sliding_window: bool | None = None
    sliding_window: _Tokens | None = None
    max_window_layers: Annotated[int, whole()] = 0
    layer_types: list[str] | None = None


class _RopeBeside(Document):
    """What of RoPE may stand beside ``rope_scaling``."""

    rope_theta: _Positive | None = None
    partial_rotary_factor: _Positive | None = None


class _Rope(_RopeBeside):
    """``rope_parameters`` or ``rope_scaling``."""

    rope_type: str | None = None
    type: str | None = None
    factor: _Positive | None = None
    original_max_position_embeddings: _Tokens | None = None
    low_freq_factor: _Positive | None = None
    high_freq_factor: _Positive | None = None
    beta_fast: _Positive | None = None
    beta_slow: _Positive | None = None
    attention_factor: _Positive | None = None
    mscale: Annotated[float, number(0, 1e30)] | None = None
    mscale_all_dim: Annotated[float, number(0, 1e30)] | None = None
    truncate: bool | None = None


def _heads(given: _Written) -> tuple[int, int, int]:
    """Numbers of heads, of those of keys and values, and channels of each."""
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
