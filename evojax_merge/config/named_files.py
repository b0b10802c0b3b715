"""The files of data that a configuration names."""

import os
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from evojax_merge.documents.files import at_home, sha256

_GROUPS = ("fitness", "operator")


def named_files(config: DictConfig) -> dict[str, dict[str, str]]:
    """The ``path`` and the ``sha256`` of every file that fitness and operator name, by key.

    Relative paths are read from the working directory.
    """
    found = {}
    for group in _GROUPS:
        tree = OmegaConf.to_container(config[group], resolve=True)
        for key, text in _texts(tree, group):
            if (path := at_home(text)).is_file():
                found[key] = {"path": text, "sha256": sha256(path)}
    return found


def _texts(tree: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(tree, dict):
        for name, part in tree.items():
            yield from _texts(part, f"{key}.{name}")
    elif isinstance(tree, list):
        for number, part in enumerate(tree):
            yield from _texts(part, f"{key}[{number}]")
    elif isinstance(tree, str) and _may_be_path(tree):
        yield key, tree


def _may_be_path(text: str) -> bool:
    """Whether a text can be asked for as a path at all; each part of one has at most 255 bytes."""
    parts = os.fsencode(text).split(b"/")
    whole = len(os.fsencode(text)) < 1024 and max(map(len, parts)) <= 255
    return bool(text) and whole and "\0" not in text and "\n" not in text
