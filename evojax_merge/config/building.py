"""From a configuration to the objects that it describes."""

import inspect
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.errors import HydraException, InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from evojax_merge.config.explaining import ConfigError
from evojax_merge.experiment import Baselines, Experiment, ModelChoice, Savers, SearchBudget
from evojax_merge.operators.factories import PREFIX, canonical, check_plain
from evojax_merge.operators.statistics.cache import StatisticsCache


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
    target, arguments = _recipe_operator(config.operator)
    return Experiment(
        name=config.name,
        seed=config.seed,
        model=ModelChoice(**_plain(config.model)),
        operator=operator,
        operator_target=canonical(target, get_object(target)),
        operator_arguments=arguments,
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
            **_minibatch(config.savers.minibatch, config.seed),
        ),
    )


def _enabled(config: DictConfig, seed: int) -> dict[str, Any] | None:
    """The arguments of a saver that is switched on."""
    arguments = _plain(config)
    return {**arguments, "seed": seed} if arguments.pop("enabled") else None


def _minibatch(config: DictConfig, seed: int) -> dict[str, dict[str, Any] | None]:
    """Minibatches that are asked for, or where they fit."""
    known = {"true": "minibatch", "auto": "automatic", "false": None}
    given = str(config.enabled).lower()
    if given not in known:
        raise ConfigError(
            f"savers.minibatch.enabled is {config.enabled!r}; use true, false, or auto"
        )
    asked = known[given]
    return {asked: _enabled(config, seed)} if asked else {}


def _statistics_cache(config: DictConfig) -> StatisticsCache | None:
    if config.directory is None:
        return None
    return StatisticsCache(Path(config.directory).expanduser(), config.limit_gb)


def build_task(config: DictConfig) -> Any:
    """The fitness task of a configuration."""
    _check_arguments(config.fitness, "fitness")
    return _instantiate(config.fitness)


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
    return canonical(target, get_object(target)), arguments


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
            keys = ", ".join(parameters) or "none"
            raise ConfigError(
                f"there is no configuration key {where}.{key}"
                + (
                    f"; did you mean {where}.{near[0]}?"
                    if near
                    else f": what is chosen for {where} takes {keys} (an experiment may bring keys "
                    "of another choice)"
                )
            )


def _plain(config: Any) -> dict[str, Any]:
    found = OmegaConf.to_container(config, resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}
