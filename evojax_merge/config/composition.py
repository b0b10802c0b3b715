"""How overrides become a configuration."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from evojax_merge.config.explanation import ConfigError, explain, explain_group
from evojax_merge.config.schema import Config
from evojax_merge.config.trust import GROUPS, check_trust
from evojax_merge.documents.bundled import conf_directory, experiments_directory
from evojax_merge.documents.errors import DocumentError, named, shown
from evojax_merge.documents.files import read_text
from evojax_merge.documents.yaml_text import load_yaml
from evojax_merge.measuring import compilations
from evojax_merge.operators.statistics.cache import default_directory

OmegaConf.register_new_resolver("experiments", experiments_directory, replace=True)
OmegaConf.register_new_resolver("statistics_directory", default_directory, replace=True)
OmegaConf.register_new_resolver(
    "compilation_directory", compilations.default_directory, replace=True
)


@contextlib.contextmanager
def _hydra(config_dir: str | Path | None) -> Iterator[list[str]]:
    """Set Hydra up on the package's configuration; yield the overrides that add the user's own."""
    if GlobalHydra.instance().is_initialized():
        GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_directory()), version_base="1.3"):
        if config_dir is None:
            yield []
            return
        own = Path(config_dir).absolute()
        if not own.is_dir():
            raise ConfigError(f"--config-dir {config_dir}: no such directory")
        yield [f"hydra.searchpath=[file://{own}]"]


def compose(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> DictConfig:
    """The configuration that command-line overrides describe.

    Args:
        overrides: The overrides as on the command line, e.g. ``["operator=ties", "seed=1"]``.
        config_dir: A directory with further groups and options, searched after the package's.

    Raises:
        ConfigError: A key or option does not exist (the nearest is named), or a value has the wrong
            type.
    """
    with _hydra(config_dir) as search_path:
        return _compose(overrides, search_path)


def check_sweep(overrides: Sequence[str], config_dir: str | Path | None = None) -> None:
    """Compose every value of every override that is swept, each once, before any job starts.

    Raises:
        ConfigError: A key or option does not exist, or a value has the wrong type.
    """
    with _hydra(config_dir) as search_path:
        try:
            parsed = OverridesParser.create().parse_overrides(expand_overrides(overrides))
        except HydraException as error:
            raise ConfigError(explain(error, search_path)) from error
        choices = [values_of(override) for override in parsed]
        first = [values[0] for values in choices]
        _compose(first, search_path)
        for position, values in enumerate(choices):
            for value in values[1:]:
                _compose([*first[:position], value, *first[position + 1 :]], search_path)


def values_of(override: Override) -> list[str]:
    """The overrides that one with values to sweep over stands for; else the one itself.

    Raises:
        ConfigError: The values cannot be counted.
    """
    if not override.is_sweep_override():
        return [str(override.input_line)]
    key = override.get_key_element()
    if not override.is_discrete_sweep():
        raise ConfigError(
            f"{override.input_line}: a sweep goes over given values, as {key}=1,2,3 or "
            f"{key}=range(4)"
        )
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


_SEVERAL = re.compile(r"fitness=\[([\w\s,-]+)\]")
_NAMED_BY_USER = re.compile(r"((?:space|space\.parameter)\.(?:groups|coefficients|fixed))=(\{.*\})")
"""Mappings whose keys are the user's; if Hydra merged them, new names would be refused."""


def expand_overrides(overrides: Sequence[str]) -> list[str]:
    """The overrides, with the package's own short forms spelt out for Hydra to read.

    With ``fitness=[a,b]`` there are several tasks. A mapping given for ``space.groups`` and the
    like replaces that of the option or experiment.

    Raises:
        ConfigError: A task is named twice.
    """
    expanded = []
    for override in overrides:
        if found := _NAMED_BY_USER.fullmatch(override.strip()):
            expanded += [f"{found[1]}=null", override]
            continue
        found = _SEVERAL.fullmatch(override.strip())
        if found is None:
            expanded.append(override)
            continue
        names = [name.strip() for name in found.group(1).split(",")]
        if len(set(names)) != len(names):
            raise ConfigError(
                f"{override}: a task is named twice; name them yourself, fitness=several "
                f"+fitness@fitness.tasks.NAME={names[0]} for each"
            )
        expanded.append("fitness=several")
        expanded += [f"+fitness@fitness.tasks.{name}={name}" for name in names]
    return expanded


def _compose(overrides: Sequence[str], search_path: list[str]) -> DictConfig:
    overrides = expand_overrides(overrides)
    try:
        return hydra.compose("config", overrides=[*search_path, *overrides])
    except (ValueError, TypeError) as error:  # Hydra's own, of a group that is no text
        raise ConfigError(explain_group(error, overrides)) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, search_path, overrides)) from error


def load_config_file(path: Path, *, trust: bool = False) -> DictConfig:
    """The resolved configuration that a run left behind, in which nothing is looked up any more.

    Compiled programs are code. Without trust they are kept in this user's own directory, and not in
    one that the file names.

    Args:
        path: The file.
        trust: Whether it may name factories from outside this package, which building it runs.

    Raises:
        ConfigError: There is no such file, it is no configuration of this version, or it names
            code from outside this package and is not trusted.
    """
    plain = read_config_file(path)
    check_trust(plain, str(path), trust)
    for group in GROUPS:
        _check_found(plain.get(group), f"{path}: {group}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Config), _literal(plain))
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or getattr(error, "key", None) or "something"
        raise ConfigError(
            f"{path}: {key} is no key of this version, or not of its type; change it there, or go "
            "on with the version that began the run"
        ) from error
    assert isinstance(merged, DictConfig)
    if not trust and (kept := merged.compilation_cache) is not None and kept.directory is not None:
        kept.directory = compilations.default_directory()
    return merged


def read_config_file(path: Path) -> dict[str, Any]:
    """The plain values of a configuration that a run left behind.

    Raises:
        ConfigError: There is no such file, or it is no mapping in YAML.
    """
    try:
        plain = load_yaml(read_text(path))
    except DocumentError as error:
        raise ConfigError(f"{path}: {error}; give the directory of a run") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML ({error}); restore it from a copy") from None
    if not isinstance(plain, dict):
        raise ConfigError(f"{path}: is no configuration, which is a mapping; restore it")
    return plain


def _check_found(value: Any, where: str) -> None:
    """Raise if there is something to look up in a part that objects are made from.

    Hydra resolves such a part more than once, so that no number of escapes keeps a text from being
    looked up in the end. What ``${oc.create:…}`` stands for may name code of its own.

    Raises:
        ConfigError: There is something to look up.
    """
    if isinstance(value, dict):
        for key, part in value.items():
            _check_found(part, f"{where}.{named(key)}")
    elif isinstance(value, list):
        for part in value:
            _check_found(part, where)
    elif isinstance(value, str) and "${" in value:
        raise ConfigError(
            f"{where} is {shown(value)}, which would be looked up; the configuration of a run "
            "holds what was found: write that there"
        )


_INTERPOLATION = re.compile(r"(\\*)\$\{")


def _literal(value: Any) -> Any:
    """The same values for OmegaConf, which would otherwise look up what stands in ``${…}``."""
    if isinstance(value, dict):
        return {key: _literal(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_literal(part) for part in value]
    if isinstance(value, str):
        return _INTERPOLATION.sub(lambda found: found[1] * 2 + r"\${", value)
    return value


def resolved_yaml(config: DictConfig) -> str:
    """The configuration with nothing left to look up, as `load_config_file` reads it.

    On how many hosts a run is carried out is left out: it may go on with others.

    Raises:
        ConfigError: A part that objects are made from holds ``${`` as a text.
    """
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    for group in GROUPS:
        _check_found(plain.get(group), group)
    kept = OmegaConf.masked_copy(config, [str(key) for key in config if key != "distributed"])
    return OmegaConf.to_yaml(kept, resolve=True)


_OF_A_HOST = ("distributed", "statistics_cache", "compilation_cache", "working_directory")
"""The keys of a configuration that may differ between hosts that carry out one run."""


def settings_by_key(config: DictConfig) -> dict[str, str]:
    """What hosts that carry out one run must be told alike, as texts by dotted key."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    told = {
        key: repr(value)
        for name, part in plain.items()
        if name not in _OF_A_HOST
        for key, value in _leaves(str(name), part)
    }
    kept = plain.get("statistics_cache") or {}  # where is a host's own affair, but not whether
    return {**told, "statistics_cache": "kept" if kept.get("directory") else "not kept"}


def flat_settings(config: DictConfig) -> dict[str, Any]:
    """The values of a configuration by dotted key."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {key: value for name, part in plain.items() for key, value in _leaves(str(name), part)}


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict) or not value:
        yield key, value
        return
    for name, part in value.items():
        yield from _leaves(f"{key}.{name}", part)
