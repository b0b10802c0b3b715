"""How the jobs of a sweep are started: one after another, or by a launcher of Hydra's."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import hydra
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from evojax_merge.config.explanation import ConfigError, explain
from evojax_merge.documents.bundled import conf_directory
from evojax_merge.documents.errors import named, shown

IN_TURN = "basic"
"""The launcher that runs one job after another in this process."""

_KNOWN = {
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher": IN_TURN,
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher": "joblib",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher": "submitit_local",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher": "submitit_slurm",
    "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher": "ray",
}
"""The class of a launcher -> its name."""

_PLAIN = (
    *("n_jobs", "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb"),
    *("nodes", "name", "partition", "qos", "constraint", "exclude", "gres", "cpus_per_gpu"),
    *("gpus_per_task", "mem_per_gpu", "mem_per_cpu", "account", "signal_delay_s"),
    *("max_num_timeout", "array_parallelism", "stderr_to_stdout"),
)
"""Settings that are amounts or names, and run nothing. ``setup`` holds commands, for instance."""

_WORD = re.compile(r"[A-Za-z0-9_.,:@+-]{0,200}")


@dataclasses.dataclass(frozen=True)
class Launcher:
    """A launcher of Hydra's.

    Attributes:
        name: Its name, as in ``hydra/launcher=NAME``.
        settings: What differs from its defaults, as plain values.
    """

    name: str = IN_TURN
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def foreign(self) -> list[str]:
        """What of it may run code, where a stranger has written it."""
        found = [] if self.name in _KNOWN.values() else [f"hydra/launcher={named(self.name)}"]
        return found + [
            f"hydra.launcher.{named(key)}={shown(value)}"
            for key, value in self.settings.items()
            if key not in _PLAIN or not _is_plain(value)
        ]


def chosen_launcher(config: DictConfig) -> Launcher:
    """The launcher that a composed configuration with Hydra's part describes."""
    node = config.hydra.launcher
    plain = OmegaConf.to_container(node, resolve=False)
    assert isinstance(plain, dict)
    target = str(plain.pop("_target_"))
    name = _KNOWN.get(target) or str(config.hydra.runtime.choices["hydra/launcher"])
    default = OmegaConf.to_container(_composed([f"hydra/launcher={name}"]).hydra.launcher)
    assert isinstance(default, dict)
    changed = [str(key) for key, value in plain.items() if value != default.get(key, ...)]
    return Launcher(name, {key: _plain(node[key]) for key in changed})


def given_launcher(overrides: Sequence[str]) -> Launcher:
    """The launcher that overrides choose.

    Args:
        overrides: ``hydra/launcher=NAME``, and any of ``hydra.launcher.KEY=VALUE``.

    Raises:
        ConfigError: The launcher or a setting does not exist, or its package is not installed.
    """
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_directory()), version_base="1.3"):
        return chosen_launcher(_composed(overrides))


def launch(
    launcher: Launcher,
    name: str,
    directory: str,
    task: Callable[[DictConfig], str | None],
    jobs: Sequence[int],
) -> list[str | None]:
    """Start jobs and wait for them.

    Args:
        launcher: How they are started.
        name: What a queue calls them.
        directory: The folder of the sweep, in which a launcher leaves files of its own.
        task: What is done for a job, whose number is ``job`` in what it is given. It returns what
            went wrong, or None. It can be pickled.
        jobs: The numbers of the jobs.

    Returns:
        What went wrong with each job; None where nothing is known to have.

    Raises:
        ConfigError: The launcher or a setting does not exist, or its package is not installed.
    """
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_directory()), name, version_base="1.3"):
        config = _composed([f"hydra/launcher={launcher.name}"])
        with read_write(config), open_dict(config):
            config.hydra.sweep.dir = directory
            config.hydra.overrides.hydra = []  # a worker needs no launcher
            config.hydra.launcher = _merged(config.hydra.launcher, launcher.settings)
        context = HydraContext(GlobalHydra.instance().config_loader(), Callbacks())
        made = Plugins.instance().instantiate_launcher(context, task, config)
        returned = made.launch([[f"job={number}"] for number in jobs], initial_job_idx=0)
    return [
        f"{type(one._return_value).__name__}: {one._return_value}"
        if one.status == JobStatus.FAILED
        else one._return_value
        for one in returned
    ]


def _composed(overrides: Sequence[str]) -> DictConfig:
    try:
        return hydra.compose("sweep_job", list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, [], overrides)) from error


def _merged(node: DictConfig, settings: Mapping[str, Any]) -> Any:
    try:
        return OmegaConf.merge(node, dict(settings))
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        raise ConfigError(f"hydra.launcher.{key}: {str(error).splitlines()[0]}") from error


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return _WORD.fullmatch(value) is not None
    return value is None or isinstance(value, bool | int | float)
