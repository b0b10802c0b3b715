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
from evojax_merge.config.continuation import Change, changed, check_budget
from evojax_merge.config.explanation import ConfigError
from evojax_merge.config.instantiation import build, build_task, carriers_of, compilation_cache
from evojax_merge.config.named_files import named_files
from evojax_merge.config.own_code import check_own_code, keep_own_code, own_code_of
from evojax_merge.config.trust import continuing, foreign_factories, plain_of
from evojax_merge.documents.bundled import conf_directory

__all__ = [
    "Change",
    "ConfigError",
    "build",
    "build_task",
    "carriers_of",
    "changed",
    "check_budget",
    "check_own_code",
    "check_sweep",
    "compilation_cache",
    "compose",
    "conf_directory",
    "continuing",
    "expand_overrides",
    "flat_settings",
    "foreign_factories",
    "keep_own_code",
    "load_config_file",
    "named_files",
    "own_code_of",
    "plain_of",
    "read_config_file",
    "resolved_yaml",
    "settings_by_key",
]
