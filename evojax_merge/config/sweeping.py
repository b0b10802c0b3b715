"""The jobs of a sweep, all composed before the first of them starts."""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from evojax_merge.config.composition import expand_overrides, resolved_yaml, values_of
from evojax_merge.config.explanation import ConfigError, explain
from evojax_merge.config.launchers import Launcher, chosen_launcher
from evojax_merge.documents.bundled import conf_directory

JOB_NAME = "evolve"
"""What ``hydra.job.name`` is, after which queues call a job."""

_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


@dataclasses.dataclass(frozen=True)
class PlannedJob:
    """A job of a sweep.

    Attributes:
        folder: Its folder, as a relative path in that of the sweep.
        overrides: What it was composed from.
        config: Its resolved configuration, as a run keeps it.
    """

    folder: str
    overrides: list[str]
    config: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """A sweep that has not begun.

    Attributes:
        directory: The folder of the sweep.
        jobs: The jobs, in order.
        launcher: How they are started.
        composed: The configuration that all jobs share, with Hydra's part, as Hydra keeps it.
        distributed: What the first job is told of the processes that do it together.
    """

    directory: Path
    jobs: list[PlannedJob]
    launcher: Launcher
    composed: str
    distributed: dict[str, Any]


def plan_sweep(overrides: Sequence[str], config_dir: str | Path | None = None) -> Plan:
    """Compose every job of a sweep.

    Args:
        overrides: The overrides as on the command line, with values to sweep over.
        config_dir: A directory of the user's own with further groups and options.

    Raises:
        ConfigError: A configuration cannot be composed, the launcher's package is not installed,
            or two jobs would have one folder.
    """
    with _initialized(config_dir):
        try:
            return _plan(expand_overrides(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(explain(error, [], overrides)) from error


@contextlib.contextmanager
def _initialized(config_dir: str | Path | None) -> Iterator[None]:
    """Set Hydra up as its own command line does: options of the user's own come first."""
    path = create_config_search_path(str(conf_directory()))
    if config_dir is not None:
        place = f"file://{Path(config_dir).absolute()}"
        path.prepend("command-line", place, SearchPathQuery(provider="schema"))
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_directory()), JOB_NAME, version_base="1.3"):
        GlobalHydra.instance().clear()
        Hydra.create_main_hydra2(JOB_NAME, path)
        yield


def _plan(overrides: list[str]) -> Plan:
    loader = GlobalHydra.instance().config_loader()
    whole = GlobalHydra.instance().hydra
    assert whole is not None
    shared = whole.compose_config("config", overrides, RunMode.MULTIRUN, from_shell=False)
    sweeper = shared.hydra.sweeper
    if sweeper.get("_target_") != _SWEEPER:
        raise ConfigError(
            f"hydra/sweeper={shared.hydra.runtime.choices['hydra/sweeper']}: a sweep goes over "
            "given values; leave the sweeper out"
        )
    for key, instead in (("job.env_set", "set variables before the command"), ("callbacks", "")):
        if OmegaConf.select(shared.hydra, key):
            raise ConfigError(f"hydra.{key}: is for single runs; {instead or 'leave it out'}")
    given = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    given += _unresolved(shared.hydra.overrides.task)
    jobs: list[PlannedJob] = []
    distributed: list[Any] = []
    for number, chosen in enumerate(_combinations(given)):
        config = loader.load_sweep_config(shared, list(chosen))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        HydraConfig.instance().set_config(config)
        distributed.append(OmegaConf.to_container(config.distributed, resolve=True))
        jobs.append(_job(config))
    folders = [job.folder for job in jobs]
    if twice := next((one for one in folders if folders.count(one) > 1), None):
        raise ConfigError(
            f"hydra.sweep.subdir={shared.hydra.sweep._get_node('subdir')}: two jobs would have "
            f"the folder {twice}"
        )
    if any(one != distributed[0] for one in distributed):
        raise ConfigError(
            "distributed: the jobs of a sweep are done by the same hosts; give each key one value"
        )
    HydraConfig.instance().set_config(shared)
    directory = Path(str(shared.hydra.sweep.dir))
    launcher = chosen_launcher(shared)
    return Plan(directory, jobs, launcher, OmegaConf.to_yaml(shared), distributed[0])


def _combinations(overrides: list[str]) -> Iterator[tuple[str, ...]]:
    return itertools.product(*map(values_of, OverridesParser.create().parse_overrides(overrides)))


def _job(config: DictConfig) -> PlannedJob:
    folder = str(config.hydra.sweep.subdir)
    chosen = _unresolved(config.hydra.overrides.task)
    with open_dict(config):
        del config["hydra"]
        config.working_directory = str(Path.cwd())
    return PlannedJob(folder, chosen, resolved_yaml(config))


def _unresolved(overrides: ListConfig) -> list[str]:
    """Overrides as they were given, in which Hydra's own list would look up what is in ``${…}``."""
    plain = OmegaConf.to_container(overrides, resolve=False)
    assert isinstance(plain, list)
    return [str(one) for one in plain]
