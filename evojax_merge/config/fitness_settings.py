"""The fitness task of a configuration as plain values, where it need not be made."""

from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf


class FitnessSettings(NamedTuple):
    """What a configuration says of a fitness task.

    Attributes:
        factory: The last part of the name of the factory that makes it.
        values: Its keys, as plain values, without those that are not given.
        missing: The keys that have to be given and are not.
    """

    factory: str
    values: dict[str, Any]
    missing: frozenset[str]

    @classmethod
    def of(cls, config: DictConfig) -> "FitnessSettings":
        """Read the fitness task of a configuration."""
        fitness = config.fitness
        missing = {str(key).removeprefix("fitness.") for key in OmegaConf.missing_keys(fitness)}
        values: dict[str, Any] = {}
        for key in fitness:
            if not OmegaConf.is_missing(fitness, key):
                value = fitness[key]
                plain = OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
                values[str(key)] = plain
        return cls(str(values.get("_target_")).rpartition(".")[2], values, frozenset(missing))


def several_of(config: DictConfig) -> dict[str, DictConfig] | None:
    """The configurations of the tasks of several, by name; None where there is one task."""
    if not OmegaConf.is_dict(config.fitness.get("tasks")):
        return None
    models = config.get("model")  # which tasks may refer to
    return {
        str(name): DictConfig({"fitness": own, "model": models})
        for name, own in config.fitness.tasks.items()
    }
