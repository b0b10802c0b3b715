"""The structured root configuration, and the objects that a composed configuration describes."""

import contextlib
import dataclasses
import inspect
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import (
    MISSING,
    BooleanNode,
    DictConfig,
    FloatNode,
    IntegerNode,
    ListConfig,
    OmegaConf,
    StringNode,
)
from omegaconf.errors import OmegaConfBaseException

from evojax_merge.experiment import Baselines, Experiment, ModelChoice, Savers, SearchBudget
from evojax_merge.statistics_cache import LIMIT_GB, StatisticsCache, default_directory


class ConfigError(ValueError):
    """A configuration that names something that is not there, or asks for the impossible."""


@dataclasses.dataclass
class ModelConfig:
    """See `evojax_merge.experiment.ModelChoice`."""

    base: str | None = None
    sources: list[str] = MISSING
    names: list[str] | None = None
    dtype: str | None = None
    tokenizer: str = "base"


@dataclasses.dataclass
class SearchConfig:
    """See `evojax_merge.experiment.SearchBudget`."""

    evaluations: int = 1000
    item_evaluations: int | None = None
    chunk: int | None = None
    finalists: int = 8
    curve: int = 0


@dataclasses.dataclass
class RacingConfig:
    """See `evojax_merge.evolution.scoring.Racing`."""

    enabled: bool = False
    blocks: int = 8
    rungs: list[int] = dataclasses.field(default_factory=lambda: [1, 2, 4, 8])
    stopping: str = "halving"
    factor: float = 2.0
    parents: float = 0.25
    error: float = 0.05


@dataclasses.dataclass
class AnchorsConfig:
    """See `evojax_merge.evolution.scoring.Anchors`."""

    enabled: bool = False
    anchors: int = 20
    initial: int = 24
    refresh: int = 5
    check: int = 2
    dimensions: int = 2


@dataclasses.dataclass
class SaversConfig:
    """See `evojax_merge.experiment.Savers`."""

    memory: bool = True
    racing: RacingConfig = dataclasses.field(default_factory=RacingConfig)
    anchors: AnchorsConfig = dataclasses.field(default_factory=AnchorsConfig)


@dataclasses.dataclass
class BaselinesConfig:
    """See `evojax_merge.experiment.Baselines`."""

    sources: bool = True
    published: bool = True
    random_search: bool = False


@dataclasses.dataclass
class StatisticsCacheConfig:
    """See `evojax_merge.statistics_cache.StatisticsCache`."""

    directory: str | None = None
    limit_gb: float = LIMIT_GB


@dataclasses.dataclass
class Config:
    """The root of ``conf/config.yaml``; groups are described in their own files."""

    name: str = "evolve"
    seed: int = 0
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    operator: Any = MISSING
    space: Any = MISSING
    strategy: Any = MISSING
    fitness: Any = MISSING
    mesh: Any = MISSING
    search: SearchConfig = dataclasses.field(default_factory=SearchConfig)
    savers: SaversConfig = dataclasses.field(default_factory=SaversConfig)
    baselines: BaselinesConfig = dataclasses.field(default_factory=BaselinesConfig)
    export: bool = True
    statistics_cache: StatisticsCacheConfig = dataclasses.field(
        default_factory=StatisticsCacheConfig
    )
    working_directory: str | None = None


ConfigStore.instance().store(name="config_schema", node=Config)


def _experiments_directory() -> str:
    """The bundled experiments: beside the package in a checkout, else in the working directory."""
    beside = Path(__file__).parent.parent / "experiments"
    return str(beside) if beside.is_dir() else "experiments"


OmegaConf.register_new_resolver("experiments", _experiments_directory, replace=True)
OmegaConf.register_new_resolver("statistics_directory", default_directory, replace=True)


def conf_directory() -> Path:
    """The configuration that comes with the package: in the wheel, or beside a checkout."""
    package = Path(__file__).parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


@contextlib.contextmanager
def _hydra(config_dir: str | Path | None) -> Iterator[list[str]]:
    """Hydra on the package's configuration; yields the overrides that add the user's own."""
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
        overrides: As on the command line, e.g. ``["operator=ties", "seed=1"]``.
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
        ConfigError: As `compose`.
    """
    with _hydra(config_dir) as search_path:
        try:
            parsed = OverridesParser.create().parse_overrides(expand_overrides(overrides))
        except HydraException as error:
            raise ConfigError(_explain(error, search_path)) from error
        choices = [
            [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
            if override.is_sweep_override()
            else [str(override.input_line)]
            for override in parsed
        ]
        first = [values[0] for values in choices]
        _compose(first, search_path)
        for position, values in enumerate(choices):
            for value in values[1:]:
                _compose([*first[:position], value, *first[position + 1 :]], search_path)


_SEVERAL = re.compile(r"fitness=\[([\w\s,-]+)\]")
_NAMED_BY_USER = re.compile(r"((?:space|space\.parameter)\.(?:groups|coefficients|fixed))=(\{.*\})")
"""Mappings whose keys are the user's: where Hydra would merge them, new names would be refused."""


def expand_overrides(overrides: Sequence[str]) -> list[str]:
    """Overrides in which our own short forms are spelt out for Hydra to read.

    ``fitness=[a,b]`` are several tasks; a mapping given for ``space.groups`` and the like replaces
    that of the option or experiment.

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
    except ValueError as error:  # Hydra's own, of a group that is no text
        raise ConfigError(_explain_group(error, overrides)) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error, search_path, overrides)) from error


def load_config_file(path: Path) -> DictConfig:
    """A resolved configuration that a run left behind."""
    try:
        loaded = OmegaConf.load(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: missing; give the directory of a run") from None
    merged = OmegaConf.merge(OmegaConf.structured(Config), loaded)
    assert isinstance(merged, DictConfig)
    return merged


def resolved_yaml(config: DictConfig) -> str:
    """The configuration with nothing left to look up."""
    return OmegaConf.to_yaml(config, resolve=True)


def build(config: DictConfig) -> Experiment:
    """The experiment that a configuration describes. Loads no weights.

    Raises:
        ConfigError: Something mandatory is missing.
        ValueError: From whatever part refuses its arguments.
    """
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise ConfigError("give a value for " + ", ".join(missing))
    for group in ("operator", "space", "strategy", "fitness", "mesh"):
        _check_arguments(config[group], group)
    operator = _instantiate(config.operator)
    arguments = OmegaConf.to_container(config.operator, resolve=True)
    assert isinstance(arguments, dict)
    target = arguments.pop("_target_")
    return Experiment(
        name=config.name,
        seed=config.seed,
        model=ModelChoice(**_plain(config.model)),
        operator=operator,
        operator_target=target,
        operator_arguments={str(name): value for name, value in arguments.items()},
        space=_instantiate(config.space),
        strategy=_instantiate(config.strategy),
        task=build_task(config),
        mesh=_instantiate(config.mesh),
        budget=SearchBudget(**_plain(config.search)),
        baselines=Baselines(**_plain(config.baselines)),
        export=config.export,
        statistics_cache=_statistics_cache(config.statistics_cache),
        savers=Savers(
            config.savers.memory,
            _enabled(config.savers.racing, config.seed),
            _enabled(config.savers.anchors, config.seed),
        ),
    )


def _enabled(config: DictConfig, seed: int) -> dict[str, Any] | None:
    """The arguments of a saver that is switched on."""
    arguments = _plain(config)
    return {**arguments, "seed": seed} if arguments.pop("enabled") else None


def _statistics_cache(config: DictConfig) -> StatisticsCache | None:
    if config.directory is None:
        return None
    return StatisticsCache(Path(config.directory).expanduser(), config.limit_gb)


def build_task(config: DictConfig) -> Any:
    """The fitness task of a configuration."""
    _check_arguments(config.fitness, "fitness")
    return _instantiate(config.fitness)


def build_operator(target: str, arguments: dict[str, Any]) -> Any:
    """The operator that a recipe names."""
    return _instantiate({"_target_": target, **arguments})


def _instantiate(config: Any) -> Any:
    """What the configuration describes; an error is the part's own, not Hydra's about it."""
    try:
        return instantiate(config)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ValueError | OSError):
            raise cause from None
        target = str(config["_target_"]).rpartition(".")[2]
        reason = f"{target} cannot be made: {cause}" if cause is not None else str(error)
        raise ConfigError(reason) from error


def _check_arguments(config: Any, where: str) -> None:
    """Whether each part takes the keys that it is given; a deferred call would find out late."""
    if not isinstance(config, DictConfig):
        return
    for key in map(str, config):
        _check_arguments(config._get_node(key), f"{where}.{key}")
    if "_target_" not in config:
        return
    try:
        parameters = inspect.signature(get_object(config["_target_"])).parameters
    except (ImportError, ValueError, TypeError, HydraException):
        return  # instantiation will say what is wrong with the target
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for key in map(str, config):
        if not key.startswith("_") and key not in parameters:
            near = get_close_matches(key, list(parameters), n=1)
            raise ConfigError(
                f"there is no configuration key {where}.{key}"
                + (f"; did you mean {where}.{near[0]}?" if near else "")
            )


def _plain(config: Any) -> dict[str, Any]:
    found = OmegaConf.to_container(config, resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def _explain(error: Exception, search_path: list[str], overrides: Sequence[str] = ()) -> str:
    """Hydra's message, with the nearest key or option that exists."""
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
        near = _nearest_key(key, search_path)
        return f"there is no configuration key {key!r}" + (
            f"; did you mean {near!r}?" if near else ""
        )
    if found := re.search(r"Could not find '([^']+)/([^'/]+)'", message):
        group, option = found.groups()
        options = _options(group)
        close = get_close_matches(option, options, n=1)
        return (
            f"there is no option {group}={option}"
            + (f"; did you mean {group}={close[0]}?" if close else "")
            + f" Options are {', '.join(options)}."
        )
    return message


def _explain_value(override: str, key: str, others: list[str]) -> str:
    """What a key takes that was given another kind of value."""
    parent, _, name = key.rpartition(".")
    node: Any = hydra.compose("config", overrides=others)
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


def _explain_group(error: Exception, overrides: Sequence[str]) -> str:
    """Which group was not given the name of an option."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        group = override.get_key_element().lstrip("+")
        if _options(group) and not isinstance(override.value(), str | list):
            options = ", ".join(_options(group))
            return f"{group} takes the name of an option, not {override.value()}: {options}"
    return str(error)


def _nearest_key(key: str, search_path: list[str]) -> str | None:
    node: Any = hydra.compose("config", overrides=search_path)
    known: list[str] = []
    for part in re.split(r"[./]", key):
        if not isinstance(node, DictConfig):
            return None
        if part in node:
            known.append(part)
            node = node._get_node(part)
            continue
        close = get_close_matches(part, [str(name) for name in node], n=1)
        return ".".join([*known, close[0]]) if close else None
    return None


def _options(group: str) -> list[str]:
    loader = GlobalHydra.instance().config_loader()
    return loader.get_group_options(group)
