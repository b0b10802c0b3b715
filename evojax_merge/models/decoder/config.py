"""What distinguishes one pre-norm decoder from another, read from its ``config.json``."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

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
_REQUIRED = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
)
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
            ValueError: The scaling is of a kind this family does not compute.
        """
        given = config.get("rope_parameters") or config.get("rope_scaling") or {}
        theta = given.get("rope_theta", config.get("rope_theta")) or cls.theta
        kind = given.get("rope_type") or given.get("type") or "default"
        partial = given.get("partial_rotary_factor", config.get("partial_rotary_factor"))
        if kind not in _ROPE_NEEDS or any(isinstance(value, Mapping) for value in given.values()):
            raise ValueError(
                f"config.json: RoPE {dict(given)!r} is not supported; "
                f"supported is one of {', '.join(_ROPE_NEEDS)} for all layers"
            )
        if partial not in (None, 1, 1.0):
            raise ValueError("config.json: partial_rotary_factor other than 1 is not supported")
        lacking = [name for name in _ROPE_NEEDS[kind] if given.get(name) is None]
        if lacking:
            raise ValueError(f"config.json: RoPE of type {kind!r} lacks {', '.join(lacking)}")
        names = {field.name for field in dataclasses.fields(cls)} - {"theta", "kind"}
        taken = {name: given[name] for name in names if given.get(name) is not None}
        return cls(theta=float(theta), kind=kind, **taken)


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
                f"config.json: model_type {family!r} is not a supported decoder; "
                f"supported are {', '.join(MODEL_TYPES)}"
            )
        config = {**_DEFAULTS[family], **config}
        lacking = [name for name in _REQUIRED if config.get(name) is None]
        if lacking:
            raise ValueError(f"config.json: lacks {', '.join(lacking)}")
        activation = config.get("hidden_act", "silu")
        if activation not in _ACTIVATIONS:
            raise ValueError(
                f"config.json: hidden_act {activation!r} is not supported; "
                f"supported are {', '.join(_ACTIVATIONS)}"
            )
        heads = config["num_attention_heads"]
        attention_bias = bool(config.get("attention_bias", False))
        return cls(
            vocab_size=config["vocab_size"],
            hidden_size=config["hidden_size"],
            intermediate_size=config["intermediate_size"],
            num_layers=config["num_hidden_layers"],
            num_heads=heads,
            num_kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or config["hidden_size"] // heads,
            max_position_embeddings=config["max_position_embeddings"],
            rms_norm_eps=config.get("rms_norm_eps", 1e-6),
            hidden_act=activation,
            qkv_bias=family == "qwen2" or (family != "mistral" and attention_bias),
            o_bias=family in ("llama", "qwen3") and attention_bias,
            mlp_bias=family == "llama" and bool(config.get("mlp_bias", False)),
            qk_norm=family == "qwen3",
            tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
            windows=_windows(family, config),
            rope=RopeConfig.from_hf(config),
        )


def _windows(family: str, config: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Sliding window of every layer, from ``layer_types`` or the older spellings."""
    layers = config["num_hidden_layers"]
    window = config.get("sliding_window")
    if family == "llama" or window is None:
        return (None,) * layers
    if family == "mistral":
        return (window,) * layers
    if not config.get("use_sliding_window", False):
        return (None,) * layers
    kinds = config.get("layer_types")
    if kinds is None:
        first = config["max_window_layers"]
        return tuple(window if layer >= first else None for layer in range(layers))
    if len(kinds) != layers or not set(kinds) <= {"full_attention", "sliding_attention"}:
        raise ValueError(
            f"config.json: layer_types must name full_attention or sliding_attention for each of "
            f"the {layers} layers; got {kinds!r}"
        )
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)
