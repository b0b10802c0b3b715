"""Configurations, which are composed from overrides, and the objects that they describe."""

from evojax_merge.config.composition import (
    check_sweep,
    compose,
    expand_overrides,
    flat_settings,
    load_config_file,
    read_config_file,
    resolved_yaml,
    settings_by_key,
)
from evojax_merge.config.explanation import ConfigError
from evojax_merge.config.instantiation import build, build_task, carriers_of, compilation_cache
from evojax_merge.config.trust import foreign_factories
from evojax_merge.documents.bundled import conf_directory

__all__ = [
    "ConfigError",
    "build",
    "build_task",
    "carriers_of",
    "check_sweep",
    "compilation_cache",
    "compose",
    "conf_directory",
    "expand_overrides",
    "flat_settings",
    "foreign_factories",
    "load_config_file",
    "read_config_file",
    "resolved_yaml",
    "settings_by_key",
]
