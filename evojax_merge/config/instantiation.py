"""How a configuration becomes the objects that it describes."""

import inspect
from pathlib import Path
from typing import Any

from hydra.errors import HydraException, InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from evojax_merge.config.experiment import (
    Baselines,
    Experiment,
    ModelChoice,
    Savers,
    SearchBudget,
    check_carriers,
)
from evojax_merge.config.explanation import ConfigError
from evojax_merge.config.own_code import located, recipe_name, with_own
from evojax_merge.config.trust import TARGET
from evojax_merge.documents.arguments import check_number
from evojax_merge.documents.errors import DocumentError, shown
from evojax_merge.documents.files import at_home
from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.base import check_task
from evojax_merge.measuring.compilations import CompilationCache
from evojax_merge.operators.base import Operator
from evojax_merge.operators.factories import PREFIX, canonical, check_plain
from evojax_merge.operators.statistics.cache import StatisticsCache


def build(config: DictConfig, task: Any = None, described: bool = False) -> Experiment:
    """The experiment that a configuration describes; no weights are loaded.

    Args:
        config: The configuration.
        task: What is measured, in the place of the configuration's fitness task.
        described: Whether shapes are all that is wanted of the models (see `Experiment`).

    Raises:
        ConfigError: Something mandatory is missing.
        ValueError: A part refuses its arguments.
    """
    missing = sorted(OmegaConf.missing_keys(config))
    if missing := [key for key in missing if task is None or not key.startswith("fitness.")]:
        raise ConfigError("give a value for " + ", ".join(missing))
    groups = ("operator", "space", "strategy", "fitness", "mesh")
    for group in groups if task is None else (one for one in groups if one != "fitness"):
        _check_option(config[group], group)
        _check_arguments(config[group], group)
    tracker = None
    if config.tracker and not described:
        _check_option(config.tracker, "tracker")
        _check_arguments(config.tracker, "tracker")
        tracker = _instantiate(config.tracker, "tracker")
    operator = _instantiate(config.operator, "operator")
    if not isinstance(operator, Operator):
        raise ConfigError(
            f"operator: {config.operator[TARGET]} makes a {type(operator).__name__}, which is no "
            "evojax_merge.operators.Operator"
        )
    target, arguments = _recipe_operator(config.operator)
    return Experiment(
        name=config.name,
        seed=config.seed,
        model=ModelChoice(**_plain(config.model)),
        operator=operator,
        operator_target=target,
        operator_arguments=arguments,
        space=_instantiate(config.space, "space"),
        strategy=_instantiate(config.strategy, "strategy"),
        task=build_task(config) if task is None else task,
        mesh=_instantiate(config.mesh, "mesh"),
        budget=SearchBudget(**_plain(config.search)),
        baselines=Baselines(**_plain(config.baselines)),
        export=config.export,
        statistics_cache=_statistics_cache(config.statistics_cache),
        savers=Savers(
            config.savers.memory,
            _enabled(config.savers.racing, config.seed),
            _enabled(config.savers.anchors, config.seed),
            **_minibatch(config.savers.minibatch, config.seed),
        ),
        described=described,
        tracker=tracker,
    )


def _enabled(config: DictConfig, seed: int) -> dict[str, Any] | None:
    """The arguments of a saver, or None if it is not switched on."""
    arguments = _plain(config)
    return {**arguments, "seed": seed} if arguments.pop("enabled") else None


def _minibatch(config: DictConfig, seed: int) -> dict[str, dict[str, Any] | None]:
    """The arguments of minibatches, as those asked for or those that are used where they fit."""
    known = {"true": "minibatch", "auto": "automatic", "false": None}
    given = str(config.enabled).lower()
    if given not in known:
        raise ConfigError(
            f"savers.minibatch.enabled is {config.enabled!r}; use true, false, or auto"
        )
    asked = known[given]
    return {asked: _enabled(config, seed)} if asked else {}


def carriers_of(config: DictConfig) -> dict[str, str]:
    """Which parts come from elsewhere, and from where.

    Raises:
        ValueError: A part or a place is no text.
    """
    model: Any = OmegaConf.to_container(config.model)
    return check_carriers(model["carriers"])


def compilation_cache(config: DictConfig) -> CompilationCache | None:
    """Where a configuration keeps compiled programs, if anywhere.

    Raises:
        ConfigError: The directory is no path.
        ValueError: The limit is no number.
    """
    kept = config.compilation_cache
    directory = None if kept is None else _directory("compilation_cache", kept)
    return None if directory is None else CompilationCache(directory, kept.limit_gb)


def _statistics_cache(config: DictConfig) -> StatisticsCache | None:
    directory = _directory("statistics_cache", config)
    return None if directory is None else StatisticsCache(directory, config.limit_gb)


def _directory(name: str, config: DictConfig) -> Path | None:
    if config.directory is None:
        return None
    try:
        return at_home(config.directory)
    except DocumentError as error:
        raise ConfigError(f"{name}.directory {config.directory}: {error}") from None


def build_task(config: DictConfig) -> Any:
    """The fitness task of a configuration."""
    _check_option(config.fitness, "fitness")
    _check_arguments(config.fitness, "fitness")
    task = _instantiate(config.fitness, "fitness")
    check_task(task, "fitness")
    return task


def _recipe_operator(config: DictConfig) -> tuple[str, dict[str, Any]]:
    """What a recipe says of the operator, so that no search ends in one that cannot be read."""
    arguments = _plain(config)
    target = arguments.pop("_target_")
    for key in ("_convert_", "_recursive_"):
        arguments.pop(key, None)
    described = {key: value for key, value in arguments.items() if key != "options"}
    try:
        check_plain("operator", described if target == PREFIX + "choice" else arguments)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    found = located(target, f"operator.{TARGET}")
    return canonical(recipe_name(target, "operator"), found), arguments


def _instantiate(config: DictConfig, where: str) -> Any:
    """The object that a configuration describes; an error is its own, not Hydra's about it."""
    plain = OmegaConf.to_container(config, resolve=True)
    made = with_own(plain, where)
    try:
        return instantiate(config if made == plain else made)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ValueError | OSError):
            raise cause from None
        target = str(config["_target_"]).rpartition(".")[2]
        reason = f"{target} cannot be made: {cause}" if cause is not None else str(error)
        raise ConfigError(reason) from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"{config['_target_']}: {error}") from error


def _check_option(config: Any, group: str) -> None:
    """Raise if a group does not hold what an option of it does."""
    if not isinstance(config, DictConfig) or "_target_" not in config:
        raise ConfigError(
            f"{group} is {shown(config)}; choose an option of it, as {group}=NAME, and change its "
            "keys one by one"
        )


_HYDRA = {
    "_target_": (str, "the name of a factory"),
    "_partial_": (bool, "true or false"),
    "_recursive_": (bool, "true or false"),
    "_convert_": (str, "none, partial, object or all"),
}
"""The keys of Hydra's own, and what they take."""


def _check_arguments(config: Any, where: str) -> None:
    """Raise if a part does not take a key that it is given; a deferred call would find out late."""
    if not isinstance(config, DictConfig):
        return
    for key in config:  # of a mapping of the user's, perhaps no text
        _check_arguments(config._get_node(key), f"{where}.{key!s}")
    for key, (kind, wanted) in _HYDRA.items():
        if key in config and not isinstance(config[key], kind):
            raise ConfigError(f"{where}.{key} is {shown(config[key])}; give {wanted}")
    if "_target_" not in config:
        return
    if config["_target_"].startswith("optax."):  # it finds out in the middle of a search
        for key in map(str, config):
            if not key.startswith("_"):
                check_number(f"{where}.{key}", config[key], -(2.0**31), 2.0**31)
    try:
        parameters = inspect.signature(located(config["_target_"], where)).parameters
    except (ImportError, ValueError, TypeError, HydraException):
        return  # instantiation will say what is wrong with the target
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for key in map(str, config):
        if not key.startswith("_") and key not in parameters:
            keys = ", ".join(parameters) or "none"
            others = f": what is chosen for {where} takes {keys} (an experiment may bring keys of "
            others += "another choice)"
            hint = nearest(key, parameters, f"{where}.") or others
            raise ConfigError(f"there is no configuration key {where}.{key}{hint}")


def _plain(config: Any) -> dict[str, Any]:
    found = OmegaConf.to_container(config, resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}
