"""The folder of a sweep: which jobs there are, where each has its run, and how they are started.

A sweep is laid out before its first job starts: every job's configuration, resolved, lies in the
job's folder. A job is then a run that is resumed, whether it has begun or not.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import yaml

from evojax_merge.api import keep_overrides
from evojax_merge.config import ConfigError, check_own_code, keep_own_code, own_code_of
from evojax_merge.config.launchers import Launcher
from evojax_merge.config.sweeping import Plan
from evojax_merge.documents.errors import DocumentError, shown
from evojax_merge.documents.files import read_text, write_text
from evojax_merge.documents.schema import Closed, checked, length, read
from evojax_merge.documents.yaml_text import load_yaml
from evojax_merge.report.run_files import CONFIG_FILE, SWEEP_FILE

"""The list of a sweep's jobs, which is written last, when everything else is there."""

COMPOSED = "multirun.yaml"
"""What all jobs share, as Hydra keeps it; nothing reads it."""


def _inner(given: Any) -> str:
    """The check that a folder lies within another by its name."""
    wanted = "the path of a folder within the sweep"
    if not isinstance(given, str) or "\0" in given:
        raise ValueError(wanted)
    path = PurePosixPath(given)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(wanted)
    return given


class _File(Closed):
    """What a `SWEEP_FILE` holds."""

    jobs: Annotated[list[Annotated[str, checked(_inner)]], length(1)]
    launcher: str
    settings: dict[str, Any]
    gpu_each: bool


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep that is laid out.

    Attributes:
        directory: Its folder, as an absolute path.
        jobs: The folder of each job, relative to that.
        launcher: How the jobs are started.
        gpu_each: Whether each process that runs jobs has a GPU of its own.
    """

    directory: Path
    jobs: tuple[str, ...]
    launcher: Launcher
    gpu_each: bool = False

    def folder(self, job: int) -> Path:
        """The folder of a job, which is that of its run."""
        return self.directory / self.jobs[job]


def is_sweep(directory: Path) -> bool:
    """Whether a folder holds a sweep, or the beginning of one, and is no run."""
    return (directory / SWEEP_FILE).exists() or (
        (directory / COMPOSED).exists() and not (directory / CONFIG_FILE).exists()
    )


def lay_out(plan: Plan, gpu_each: bool) -> Sweep:
    """Write all that the jobs of a sweep need into its folder.

    Where the same sweep is there already, it is gone on with.

    Args:
        plan: The sweep.
        gpu_each: Whether each process that runs jobs has a GPU of its own.

    Raises:
        ConfigError: The folder holds another sweep, or a job's folder another run; or code of the
            user's own has changed since they were begun.
    """
    directory = plan.directory.absolute()
    jobs = [_inner_folder(job.folder) for job in plan.jobs]
    if (directory / SWEEP_FILE).exists() and list(read_sweep(directory).jobs) != jobs:
        raise ConfigError(
            f"{directory}: holds another sweep; give another directory (hydra.sweep.dir), or go "
            "on with that sweep by resume"
        )
    for job in plan.jobs:
        file = directory / job.folder / CONFIG_FILE
        if file.exists() and file.read_text(encoding="utf-8") != job.config:
            raise ConfigError(
                f"{file.parent}: holds a run of another configuration; give another directory "
                "(hydra.sweep.dir), or go on with that sweep by resume"
            )
    for job in plan.jobs:
        folder = directory / job.folder
        code = own_code_of(load_yaml(job.config))
        check_own_code(folder, code)
        keep_own_code(folder, code)
        keep_overrides(folder, job.overrides)
        write_text(folder / CONFIG_FILE, job.config)
    write_text(directory / COMPOSED, plan.composed)
    account: Mapping[str, Any] = {
        "jobs": jobs,
        "launcher": plan.launcher.name,
        "settings": dict(plan.launcher.settings),
        "gpu_each": gpu_each,
    }
    write_text(
        directory / SWEEP_FILE, yaml.safe_dump(dict(account), sort_keys=False, allow_unicode=True)
    )
    return Sweep(directory, tuple(jobs), plan.launcher, gpu_each)


def read_sweep(directory: Path) -> Sweep:
    """The sweep that a folder holds.

    Raises:
        ConfigError: The sweep was never laid out, or its list is damaged.
    """
    file = directory / SWEEP_FILE
    if not file.exists():
        raise ConfigError(
            f"{file}: missing, so no job of this sweep has begun; start it again by evolve -m"
        )
    try:
        found = read(_File, load_yaml(read_text(file)), str(file), ConfigError)
    except DocumentError as error:
        raise ConfigError(f"{file}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: is not YAML ({error}); restore it from a copy") from None
    launcher = Launcher(found.launcher, found.settings)
    return Sweep(directory.absolute(), tuple(found.jobs), launcher, found.gpu_each)


def check_whole(sweep: Sweep) -> None:
    """Check that every job of a sweep has its configuration.

    Raises:
        ConfigError: One has lost it.
    """
    lost = [job for job in sweep.jobs if not (sweep.directory / job / CONFIG_FILE).is_file()]
    if lost:
        raise ConfigError(
            f"{sweep.directory / lost[0] / CONFIG_FILE}: missing, so that this job cannot go on; "
            "start the sweep again by the command that began it, which lays out what is lost"
        )


def _inner_folder(name: str) -> str:
    try:
        return _inner(name)
    except ValueError as error:
        raise ConfigError(f"hydra.sweep.subdir is {shown(name)}; give {error}") from None
