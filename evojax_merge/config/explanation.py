"""Hydra's errors in the words of users, with the nearest key, the options or the kind of value."""

import re
from collections.abc import Sequence
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import (
    BooleanNode,
    DictConfig,
    FloatNode,
    IntegerNode,
    ListConfig,
    OmegaConf,
    StringNode,
)
from omegaconf.errors import OmegaConfBaseException

from evojax_merge.documents.nearest import nearest


class ConfigError(ValueError):
    """A configuration that names something that is not there, or asks for the impossible."""


_PACKAGES = {
    "joblib": "hydra-joblib-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
    "ray": "hydra-ray-launcher",
    "ray_aws": "hydra-ray-launcher",
    "rq": "hydra-rq-launcher",
}
"""The package that brings each launcher of a sweep."""


def explain(error: Exception, search_path: list[str], overrides: Sequence[str] = ()) -> str:
    """The message of Hydra, with the nearest key or option that exists."""
    message = str(error)
    cause = error.__cause__
    key = cause.full_key if isinstance(cause, OmegaConfBaseException) else None
    if key and (found := re.match(r"Error merging override (.+)", message)):
        others = [override for override in overrides if override != found.group(1)]
        return _explain_value(found.group(1), key, [*search_path, *others])
    if cause is not None and str(cause) not in message:
        message += f"\n{cause}"
    if re.search("LexerNoViableAltException|mismatched input|no viable alternative", message):
        line = message.splitlines()[0]
        return (
            f"an override cannot be read ({line}); values with braces, commas, colons or spaces "
            "are quoted twice: 'key=\"value\"'"
        )
    if found := re.search(r"Could not (?:override|append to config) '([^']+)'", message):
        key = max(key or "", found.group(1).split("@")[0], key=len)  # the more particular
        if key == "experiment":
            return "an experiment is added: +experiment=NAME"
        hint = _nearest_key(key, search_path) or _added(key, search_path, overrides)
        return f"there is no configuration key {key!r}{hint}"
    if found := re.search(r"Could not find '([^']+)/([^'/]+)'", message):
        group, option = found.groups()
        if group == "hydra/launcher" and option in _PACKAGES:
            return (
                f"hydra/launcher={option} needs a package that is not installed; "
                f"pip install {_PACKAGES[option]}"
            )
        options = _options(group)
        hint = nearest(option, options, f"{group}=")
        return f"there is no option {group}={option}{hint}; options are {', '.join(options)}"
    return message


def _explain_value(override: str, key: str, others: list[str]) -> str:
    """The message of what a key takes that was given another kind of value."""
    parent, _, name = key.rpartition(".")
    try:
        node: Any = hydra.compose("config", overrides=others)
    except (HydraException, OmegaConfBaseException, ValueError, TypeError):
        return f"{override} cannot be: the value is of another kind"  # and others are wrong too
    node = OmegaConf.select(node, parent) if parent else node
    held = node._get_node(name) if isinstance(node, DictConfig) else None
    given = override.partition("=")[2]
    if isinstance(held, DictConfig) and len(held):
        names = [str(name) for name in held]
        return f"{key} holds the keys {', '.join(names)}; give one of them, as {key}.{names[0]}=…"
    kinds: list[tuple[type, str]] = [
        (DictConfig, "a mapping"),
        (ListConfig, "a list"),
        (BooleanNode, "true or false"),
        (IntegerNode, "a whole number"),
        (FloatNode, "a number"),
        (StringNode, "text"),
    ]
    kind = next((name for type_, name in kinds if isinstance(held, type_)), "another kind of value")
    return f"{key} takes {kind}, not {given}"


def explain_group(error: Exception, overrides: Sequence[str]) -> str:
    """The message of which group was not given the name of an option."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        group = override.get_key_element().lstrip("+")
        if _options(group) and not isinstance(override.value(), str | list):
            options = ", ".join(_options(group))
            return f"{group} takes the name of an option, not {override.value()}: {options}"
    return str(error)


def _nearest_key(key: str, search_path: list[str]) -> str:
    node: Any = hydra.compose("config", overrides=search_path)
    known: list[str] = []
    for part in re.split(r"[./]", key):
        if not isinstance(node, DictConfig):
            return ""
        if part in node:
            known.append(part)
            node = node._get_node(part)
            continue
        return nearest(part, map(str, node), "".join(f"{one}." for one in known))
    return ""


def _added(key: str, search_path: list[str], overrides: Sequence[str]) -> str:
    """How a key is given to code of the user's own whose YAML file does not have it; or nothing."""
    group = key.split(".")[0]
    others = [one for one in overrides if not one.startswith(f"{key}=")]
    try:
        node: Any = hydra.compose("config", overrides=[*search_path, *others])
    except (HydraException, OmegaConfBaseException, ValueError, TypeError):
        return ""  # and others are wrong too
    target = OmegaConf.select(node, f"{group}._target_") if "." in key else None
    if not isinstance(target, str) or target.startswith("evojax_merge."):
        return ""
    return f"; if {target} takes it, add it as +{key}=…"


def _options(group: str) -> list[str]:
    loader = GlobalHydra.instance().config_loader()
    return loader.get_group_options(group)
