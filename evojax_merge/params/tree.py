"""Parameter trees by path, where a leaf is named by its keys joined with dots."""

from collections.abc import Mapping
from typing import Any

from evojax_merge.params.types import Params


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Make ``{"a": {"b": leaf}}`` into ``{"a.b": leaf}``, in the order of the tree.

    Raises:
        ValueError: A key is not a string or contains a dot, so that paths would be ambiguous.
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
    """Make ``{"a.b": leaf}`` into ``{"a": {"b": leaf}}``, the inverse of `flatten`.

    Raises:
        ValueError: One path is a prefix of another.
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
