"""The ``text_config`` of a LLaVA, which leaves out what its type assumes.

A decoder's own ``config.json`` has all its sizes. The ``text_config`` of LLaVA-1.5 on the hub says
no more than that it is a Llama with 32064 tokens.
"""

from collections.abc import Mapping
from typing import Any

from evojax_merge.documents.errors import shown
from evojax_merge.models.seeing.config import nested

KEY = "text_config"
"""The key of the language model's fields in the ``config.json`` of the whole."""

_SIZES = {
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
}
_QWEN = {**_SIZES, "vocab_size": 151_936, "intermediate_size": 22_016}

# What transformers assumes where a text_config is silent, and the class of the model alone.
_ASSUMED: dict[str, dict[str, int]] = {
    "llama": _SIZES,
    "mistral": {**_SIZES, "intermediate_size": 14_336},
    "qwen2": _QWEN,
    "qwen3": _QWEN,
    "phi3": {
        **_SIZES,
        "vocab_size": 32_064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
    },
    "olmo2": {**_SIZES, "vocab_size": 50_304},
}
_ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
}

MODEL_TYPES = tuple(_ASSUMED)
"""The types of language models that this family computes. Those that scale their embeddings are
none of them, as they would scale the features of pictures too."""


def type_of(hf_config: Mapping[str, Any]) -> object:
    """Return the ``model_type`` of the language model of a LLaVA. A silent file means a Llama."""
    return nested(hf_config, KEY).get("model_type", "llama")


def text_config(hf_config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``config.json`` that the language model would have if it stood alone.

    Args:
        hf_config: The ``config.json`` of a LLaVA.

    Raises:
        ValueError: The language model is of a type that this family does not compute.
    """
    given, kind = nested(hf_config, KEY), type_of(hf_config)
    if not isinstance(kind, str) or kind not in _ASSUMED:
        raise ValueError(
            f"config.json: model_type {shown(kind)} of {KEY} is not supported in a LLaVA; "
            f"supported are {', '.join(MODEL_TYPES)}"
        )
    said = {name: value for name, value in given.items() if value is not None}
    tied = bool(hf_config.get("tie_word_embeddings"))
    if hf_config.get("model_type") == "llava":
        # Of a LLaVA-NeXT transformers heeds the outer field alone.
        tied = tied or bool(given.get("tie_word_embeddings"))
    return {
        **given,
        **_ASSUMED[kind],
        **said,
        "model_type": kind,
        "architectures": [_ARCHITECTURES[kind]],
        "tie_word_embeddings": tied,
    }
