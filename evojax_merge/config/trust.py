"""What a run directory from elsewhere may have made: the factories that our own options name."""

import functools
from collections.abc import Iterator
from typing import Any

import yaml

from evojax_merge.bundled import conf_directory
from evojax_merge.config.explaining import ConfigError

TARGET = "_target_"


@functools.cache
def public_factories() -> frozenset[str]:
    """Every factory that an option of the package names.

    A configuration that names no other runs no code but ours, evosax's and optax's, on arguments
    that are plain values.
    """
    found: set[str] = set()
    for file in sorted(conf_directory().rglob("*.yaml")):
        found |= set(_targets(yaml.safe_load(file.read_text(encoding="utf-8"))))
    return frozenset(found)


def foreign_factories(config: Any) -> list[str]:
    """The factories that a configuration names and that are no public ones, in order.

    Args:
        config: Plain values, as read from a file.
    """
    public = public_factories()
    return [name for name in dict.fromkeys(_targets(config)) if name not in public]


def check_trust(config: Any, where: str, trust: bool) -> None:
    """Whether everything that a configuration names may be imported and called.

    Args:
        config: Plain values, as read from a file.
        where: What messages call it.
        trust: The user has said that any factory may.

    Raises:
        ConfigError: It names factories that are no public ones, and is not trusted.
    """
    foreign = foreign_factories(config)
    if foreign and not trust:
        raise ConfigError(
            f"{where}: names code that is no part of this package: {', '.join(foreign)}. It would "
            "be imported and run; if you trust it, say so with trust_config=True (--trust-config)"
        )


def _targets(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        if TARGET in tree:
            yield str(tree[TARGET])
        tree = list(tree.values())
    if isinstance(tree, list):
        for part in tree:
            yield from _targets(part)
