"""Parameter trees by path: a leaf is named by its keys joined with dots."""

from collections.abc import Mapping
from typing import Any

from evojax_merge.params.types import Params

STACKED = "layers"
"""Key above the leaves whose leading axis counts layers, as ``layers`` or ``vision.layers``."""


def is_stacked(path: str) -> bool:
    """Whether the leaf at ``path`` holds all layers of one kind on its leading axis."""
    return STACKED in path.split(".")[:-1]


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """``{"a": {"b": leaf}}`` to ``{"a.b": leaf}``, in the order of the tree.

    Raises:
        ValueError: a key is not a string or contains a dot, so that paths would be ambiguous.
    """
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if not isinstance(name, str) or "." in name or not name:
            raise ValueError(f"parameter tree key {name!r}: use non-empty strings without dots")
        if isinstance(value, Mapping):
            flat.update({f"{name}.{path}": leaf for path, leaf in flatten(value).items()})
        else:
            flat[name] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> Params:
    """The inverse of `flatten`.

    Raises:
        ValueError: one path is a prefix of another.
    """
    tree: Params = {}
    for path, leaf in flat.items():
        *parents, name = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ValueError(f"path {path!r} runs through the leaf {parent!r}")
        if name in node:
            raise ValueError(f"path {path!r} is already a branch of the tree")
        node[name] = leaf
    return tree
