"""What distinguishes one pre-norm decoder from another, read from its ``config.json``."""

import dataclasses
from collections.abc import Mapping, Sequence
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
