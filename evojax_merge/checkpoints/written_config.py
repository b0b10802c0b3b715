"""What an export writes as ``config.json``."""

from collections.abc import Mapping
from typing import Any

# Where the reference came from, and code that is never run, are no part of a merge.
_DROPPED = ("_name_or_path", "auto_map")


def without_origin(hf_config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a ``config.json`` without the fields that say where it came from."""
    return {name: value for name, value in hf_config.items() if name not in _DROPPED}


def with_dtype(hf_config: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """Make a ``config.json`` that names the dtype of the weights, in the word that it has for it.

    Configurations of diffusers have no such word.
    """
    default = {"dtype"} if "model_type" in hf_config else set()
    names = {"dtype", "torch_dtype"} & hf_config.keys() or default
    return {**hf_config, **dict.fromkeys(names, dtype)}
