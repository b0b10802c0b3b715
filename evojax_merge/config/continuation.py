"""What of a run's configuration may change when the run goes on, above all its budget."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from evojax_merge.config.composition import compose
from evojax_merge.config.explanation import ConfigError
from evojax_merge.documents.errors import shown
from evojax_merge.documents.nearest import nearest

FREE = (
    "search.evaluations",
    "search.item_evaluations",
    "search.curve",
    "search.chunk",
    "baselines.sources",
    "baselines.published",
    "baselines.random_search",
    "export",
    "fitness.test",
    "mesh.pop",
    "mesh.model",
    "statistics_cache.directory",
    "statistics_cache.limit_gb",
    "compilation_cache.directory",
    "compilation_cache.limit_gb",
)
"""The keys that may change. None says which candidates a search proposes or how they are scored,
but for the last digits of numbers, which another mesh or chunk may compute otherwise."""

TRACKER = "tracker"
"""The group that may be chosen anew, with its keys: whoever follows a run has no part in it."""

_TEST = re.compile(r"fitness\.(tasks\.[^.]+\.)?test")
_DIRECTORIES = ("statistics_cache.directory", "compilation_cache.directory")

_BOUND = {
    "name": "it names the folder",
    "seed": "all candidates follow from it",
    "model": "the candidates so far are merges of these models",
    "operator": "the candidates so far are merges by this one",
    "space": "it says what the candidates so far mean",
    "strategy": "what it has learned is of these settings",
    "fitness": "the candidates so far were scored by it",
    "savers": "the candidates so far were scored by what they chose",
    "search.finalists": "no more of the best candidates were kept than it said",
    "distributed": "a run does not keep it",
    "working_directory": "relative paths start there",
}
"""Why others may not change."""


class Budget(NamedTuple):
    """What a search may spend, or has spent.

    Attributes:
        evaluations: The candidates in all.
        item_evaluations: The measured items in all; None for no limit.
    """

    evaluations: int
    item_evaluations: int | None


class Change(NamedTuple):
    """A configuration with other values.

    Attributes:
        config: The configuration after the change.
        values: What was changed, as texts by dotted key: before and after.
        notes: What else people should know.
    """

    config: DictConfig
    values: dict[str, tuple[str, str]]
    notes: list[str]


def changed(config: DictConfig, overrides: Sequence[str], files_from: Path | None = None) -> Change:
    """Change what may change of the configuration of a run that has begun.

    Args:
        config: The run's configuration.
        overrides: The changes, as ``search.evaluations=2000``.
        files_from: The directory that relative paths among the changes are read from; by default,
            the one that those of the run are read from.

    Raises:
        ConfigError: A key does not exist or may not change, or a value is of another kind.
    """
    after = config.copy()
    values: dict[str, tuple[str, str]] = {}
    for override in map(_parsed, overrides):
        key, value = override.key_or_group, override.value()
        if key == TRACKER and TRACKER in config:
            value = compose([str(override.input_line)])[TRACKER]
        is_file = key in _DIRECTORIES or _TEST.fullmatch(key) is not None
        if is_file and isinstance(value, str) and files_from and not value.startswith("~"):
            value = str(files_from / value)
        parent, _, name = key.rpartition(".")
        holder: Any = OmegaConf.select(after, parent) if parent else after
        if not isinstance(holder, DictConfig) or name not in holder:
            raise ConfigError(f"there is no configuration key {key} in this run; leave it out")
        before = holder[name]
        try:
            holder[name] = value
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"{override.input_line}: cannot be ({reason})") from error
        if holder[name] != before:
            values[key] = (shown(before), shown(holder[name]))
    return Change(after, values, _follow(config, after))


def check_budget(change: Change, before: DictConfig, spent: Budget) -> None:
    """Check that a changed budget is not less than what was spent already.

    Args:
        change: The change.
        before: The configuration until now.
        spent: What the search has spent.

    Raises:
        ConfigError: It is less.
    """
    for name, done in spent._asdict().items():
        new = change.config.search[name]
        if new is not None and new != before.search[name] and new < done:
            raise ConfigError(
                f"search.{name}={new}: the search has spent {done} already; give more than that, "
                "or begin a new run"
            )


def _parsed(text: str) -> Override:
    """An override of a key that may change."""
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise ConfigError(f"{text}: cannot be read; give KEY=VALUE") from error
    key = override.key_or_group
    if override.type != OverrideType.CHANGE or override.is_sweep_override() or override.package:
        raise ConfigError(f"{text}: a run that goes on takes KEY=VALUE, with one value")
    if key in FREE or _TEST.fullmatch(key) or key.split(".")[0] == TRACKER:
        return override
    for bound, why in _BOUND.items():
        if key == bound or key.startswith(f"{bound}."):
            raise ConfigError(
                f"{key}: cannot change in a run that goes on ({why}); what can change is "
                f"{', '.join(FREE)}"
            )
    raise ConfigError(
        f"{key}: is none of the keys that can change in a run that goes on{nearest(key, FREE)}; "
        f"these are {', '.join(FREE)}"
    )


def _follow(before: DictConfig, after: DictConfig) -> list[str]:
    """Settle what is told of the whole budget, and say so.

    Raises:
        ConfigError: A search cannot be longer, or shorter, than it was begun.
    """
    old, new = before.search.evaluations, after.search.evaluations
    if new == old:
        return []
    strategy = str(after.strategy.get("_target_", "")).rpartition(".")[2]
    space = str(after.space.get("_target_", "")).rpartition(".")[2]
    notes = []
    if strategy == "OptunaCMAES" and new > after.strategy.evaluations:
        raise ConfigError(
            f"search.evaluations={new}: strategy=optuna_cma was begun with room for "
            f"{after.strategy.evaluations} candidates; begin a new run, perhaps with more room "
            "(strategy.evaluations) than its search.evaluations needs"
        )
    if strategy == "GridSearch" and after.strategy.points is None:
        notes.append(
            f"the grid stays that of {after.strategy.evaluations} evaluations, and what is added "
            "is drawn at random"
        )
    if space == "HybridSpace":
        first = max(1, round(after.space.share * old))
        if first >= new:
            raise ConfigError(
                f"search.evaluations={new}: the search in parameter space alone has {first}; give "
                "more than that"
            )
        after.space.share = first / new
        notes.append(f"the search in parameter space keeps its {first} evaluations")
    return notes
