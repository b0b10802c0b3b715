"""Configurations: composed from overrides, and the objects that they describe."""

from evojax_merge.bundled import conf_directory
from evojax_merge.config.building import build, build_task
from evojax_merge.config.composing import (
    check_sweep,
    compose,
    expand_overrides,
    load_config_file,
    read_config_file,
    resolved_yaml,
)
from evojax_merge.config.explaining import ConfigError
from evojax_merge.config.trust import foreign_factories

__all__ = [
    "ConfigError",
    "build",
    "build_task",
    "check_sweep",
    "compose",
    "conf_directory",
    "expand_overrides",
    "foreign_factories",
    "load_config_file",
    "read_config_file",
    "resolved_yaml",
]
