"""YAML in which a key given twice is an error, not silently the last one."""

from collections.abc import Hashable
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> Any:
    """Plain values of one document.

    Raises:
        yaml.YAMLError: It is no YAML, holds several documents, or a mapping has a key twice.
    """
    return yaml.load(text, _Loader)  # a SafeLoader


def load_documents(text: str) -> list[Any]:
    """Plain values of every document.

    Raises:
        yaml.YAMLError: It is no YAML, or a mapping has a key twice.
    """
    return list(yaml.load_all(text, _Loader))
