"""The language model of a Qwen2.5-VL, which is a Qwen 2 whose positions have three axes."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from evojax_merge.documents.errors import shown
from evojax_merge.documents.schema import Document, read, whole
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.rope import AXES
from evojax_merge.models.seeing.config import nested

KEY = "text_config"
"""The key of the language model's fields, where they do not stand among those of the whole."""

MODEL_TYPES = (None, "qwen2_5_vl_text", "qwen2_5_vl", "qwen2")
"""What configurations call the language model. Published ones say nothing of it."""

_ROPES = ("rope_parameters", "rope_scaling")
_KINDS = ("default", "linear", "llama3", "yarn")
"""The kinds of RoPE whose angles do not depend on the length of sequences."""

# What transformers assumes where a configuration is silent.
_ASSUMED: dict[str, Any] = {
    "vocab_size": 152_064,
    "hidden_size": 8192,
    "intermediate_size": 29_568,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32_768,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1_000_000.0,
    "sliding_window": 4096,
    "max_window_layers": 80,
}
_SECTIONS = (16, 24, 24)


def fields_of(hf_config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of the language model, which stand in ``text_config`` or outside."""
    return nested(hf_config, KEY) or hf_config


def text_config(hf_config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``config.json`` that the language model would have if it stood alone.

    Args:
        hf_config: The ``config.json`` of a Qwen2.5-VL.
    """
    given = fields_of(hf_config)
    said = {name: value for name, value in given.items() if value is not None}
    tied = bool(hf_config.get("tie_word_embeddings")) or bool(said.get("tie_word_embeddings"))
    own = {
        **_ASSUMED,
        **said,
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "tie_word_embeddings": tied,
    }
    for name in _ROPES:
        if isinstance(rope := own.get(name), Mapping):
            own[name] = _one_axis(rope)
    for name in _OF_THE_WHOLE:
        own.pop(name, None)
    return own


def language_model(hf_config: Mapping[str, Any]) -> DecoderConfig:
    """Read the configuration of the language model.

    Raises:
        ValueError: The language model is of a type, or of a kind of RoPE, that is not computed.
    """
    own = text_config(hf_config)
    decoder = DecoderConfig.from_hf(own)
    if decoder.rope.kind not in _KINDS:
        raise ValueError(
            f"config.json: RoPE of type {shown(decoder.rope.kind)} is not supported in a "
            f"Qwen2.5-VL; supported are {', '.join(_KINDS)}"
        )
    given = fields_of(hf_config)
    rope: Any = next((given[name] for name in _ROPES if given.get(name)), {})
    sections = read(_Sections, rope, "config.json").mrope_section
    sections = list(_SECTIONS) if sections is None else sections
    if len(sections) != AXES or sum(sections) != decoder.head_dim // 2:
        raise ValueError(
            f"config.json: mrope_section {sections} must have {AXES} numbers of the sum "
            f"{decoder.head_dim // 2}, a half of the {decoder.head_dim} channels of a head"
        )
    return with_sections(decoder, tuple(sections))


def with_sections(decoder: DecoderConfig, sections: tuple[int, ...]) -> DecoderConfig:
    """Return a decoder whose positions have axes, which is the same for text alone.

    Args:
        decoder: The decoder.
        sections: The numbers of pairs of channels of each axis (see `RopeConfig`).
    """
    return dataclasses.replace(decoder, rope=dataclasses.replace(decoder.rope, sections=sections))


_OF_THE_WHOLE = (
    "vision_config",
    KEY,
    "image_token_id",
    "video_token_id",
    "vision_start_token_id",
    "vision_end_token_id",
    "vision_token_id",
)


class _Sections(Document):
    mrope_section: list[Annotated[int, whole()]] | None = None


def _one_axis(rope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of RoPE of one axis. Type ``mrope`` says that there are three."""
    kept = {name: value for name, value in rope.items() if name != "mrope_section"}
    return {
        name: "default" if name in ("type", "rope_type") and value == "mrope" else value
        for name, value in kept.items()
    }
