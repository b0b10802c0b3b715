"""The keys of a YAML under which others find what they repeat."""

from collections.abc import Iterator

import yaml


def anchored_keys(text: str) -> Iterator[frozenset[str]]:
    """Yield the keys that hold an anchor in the mapping of every document.

    Raises:
        yaml.YAMLError: The text is no YAML.
    """
    keys: set[str] = set()
    depth, key, at_key = 0, "", True
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.DocumentStartEvent):
            keys, depth, at_key = set(), 0, True
        elif isinstance(event, yaml.DocumentEndEvent):
            yield frozenset(keys)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.NodeEvent):
            if depth == 1 and at_key:
                key = getattr(event, "value", "")
            elif depth and event.anchor and not isinstance(event, yaml.AliasEvent):
                keys.add(key)
            at_key = not at_key if depth == 1 else at_key
            depth += isinstance(event, yaml.CollectionStartEvent)
