"""What a run directory from elsewhere may call, which is what the package's own options name."""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from omegaconf import DictConfig, OmegaConf

from evojax_merge.config.explanation import ConfigError
from evojax_merge.documents.bundled import conf_directory

TARGET, MISSING = "_target_", "???"

GROUPS = ("operator", "space", "strategy", "fitness", "mesh", "tracker")
"""The keys of a configuration from which objects are made."""

FUNCTION = "function"
"""The key of a fitness task that names a function of the user's own, which is imported."""

INCLUDED, UNSAFE = "include_path", "confirm_run_unsafe_code"
"""The keys of a fitness task that name a directory whose code is run, and that run answers."""

JUDGE = "evojax_merge.fitness.ChatJudge"
"""The factory of judges, which sends answers, and perhaps a key, to an address."""

CODE = "run_code"
"""The key of a fitness task that lets the programs run that models write."""

_UNPICKLED = ("_args_", "params", "params_path")
"""Arguments through which algorithms of evosax read a pickle, and those that hide their names."""


class Factory(NamedTuple):
    """A factory or another function that a configuration names, and what it is given."""

    group: str
    name: str
    arguments: Mapping[str, Any]


@functools.cache
def public_factories(group: str) -> frozenset[str]:
    """The factories that the package's options of a group name.

    A configuration that names no other factory runs no code but that of this package, evosax and
    optax, on arguments that are plain values.
    """
    files = sorted((conf_directory() / group).rglob("*.yaml"))
    options = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]
    return frozenset(factory.name for factory in _factories(group, options))


def plain_of(config: DictConfig) -> dict[str, Any]:
    """A configuration as plain values, with nothing left to look up."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def continuing(directory: Path, trust: bool) -> str:
    """The command that continues a run or a sweep.

    Args:
        directory: Its directory.
        trust: Whether it names code from outside this package.
    """
    return f"evojax-merge resume {directory}{' --trust-config' if trust else ''}"


def foreign_factories(config: Mapping[str, Any]) -> list[str]:
    """The factories and functions that a configuration names, but the public ones, in order.

    Args:
        config: The configuration as plain values, as they are read from a file.
    """
    named = [one for key, value in config.items() for one in _factories(str(key), value)]
    return list(dict.fromkeys(one.name for one in named if not _is_public(one)))


def check_trust(config: Mapping[str, Any], where: str, trust: bool) -> None:
    """Raise if something that a configuration names may not be imported and called.

    Args:
        config: The configuration as plain values, as they are read from a file.
        where: What messages call the configuration.
        trust: Whether the user has said that any factory may be called.

    Raises:
        ConfigError: The configuration names factories that are not public, and is not trusted.
    """
    foreign = foreign_factories(config)
    if foreign and not trust:
        raise ConfigError(
            f"{where}: names code that is no part of this package, reads a pickle, runs programs "
            f"that models write, or sends their answers elsewhere: {', '.join(foreign)}. It would "
            "be imported and run; if you trust it, say so with trust_config=True (--trust-config)"
        )


def _is_public(factory: Factory) -> bool:
    if factory.name.startswith((JUDGE, CODE)):
        return False
    if factory.group not in GROUPS or factory.name not in public_factories(factory.group):
        return False
    own = factory.name.startswith("evojax_merge.")
    return own or not any(key in factory.arguments for key in _UNPICKLED)


def _factories(group: str, tree: Any) -> Iterator[Factory]:
    if isinstance(tree, Mapping):
        if tree.get(TARGET, MISSING) != MISSING:  # an option may leave it to those built on it
            name = str(tree[TARGET])
            to = f" at {tree.get('url')}" if name == JUDGE else ""
            yield Factory(group, name + to, tree)
        if group == "fitness" and isinstance(tree.get(FUNCTION), str) and tree[FUNCTION] != MISSING:
            yield Factory(group, tree[FUNCTION], {})
        if group == "fitness" and tree.get(CODE):
            yield Factory(group, f"{CODE}={tree[CODE]}", {})
        if group == "fitness" and tree.get(INCLUDED) is not None:
            yield Factory(group, f"{INCLUDED}={tree[INCLUDED]}", {})
        if group == "fitness" and tree.get(UNSAFE):
            yield Factory(group, f"{UNSAFE}={tree[UNSAFE]}", {})
        tree = list(tree.values())
    if isinstance(tree, list):
        for part in tree:
            yield from _factories(group, part)
