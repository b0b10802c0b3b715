"""The directory of a run: who writes it, and what it was asked for."""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import yaml
from omegaconf import DictConfig

from evojax_merge import __version__, hosts
from evojax_merge.config import (
    changed,
    check_own_code,
    keep_own_code,
    load_config_file,
    own_code_of,
    plain_of,
    resolved_yaml,
)
from evojax_merge.documents.files import write_text
from evojax_merge.documents.log import keeping_log, note
from evojax_merge.report.run_files import CHECKPOINTS, CONFIG_FILE, LOG_FILE, OVERRIDES_FILE
from evojax_merge.search.lock import LockedError, locked


def directory_of_all(directory: str | Path) -> Path:
    """The directory that process 0 writes; that of this process, where it is alone."""
    if hosts.active() is None:
        return Path(directory)
    return Path(hosts.agree(str(Path(directory).absolute())))


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory, which is made if need be, in the process that writes."""
    if not hosts.is_first():
        yield
        return
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory):
        yield


@contextlib.contextmanager
def log_of(directory: Path) -> Iterator[None]:
    """Keep what a run says in its log, in the process that speaks."""
    if not hosts.is_first():
        yield
        return
    with keeping_log(directory / LOG_FILE):
        writer = f"process {os.getpid()} on {socket.gethostname()}"
        note(f"evojax-merge {__version__}, {_versions()}, {writer}")
        yield


def _versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("jax", "jaxlib", "transformers"))


def keep_config(directory: Path, text: str, overrides: Sequence[str] | None) -> None:
    """Keep a run's configuration in its directory, which may hold the beginning of this run.

    Raises:
        ValueError: The directory holds another run.
    """
    kept = directory / CONFIG_FILE
    if kept.exists() and kept.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{directory}: holds a run of another configuration; give another directory, or "
            "continue that run with resume, which takes search.evaluations=N for a larger budget"
        )
    if overrides is not None and not kept.exists():
        keep_overrides(directory, overrides)  # a run that has begun has them
    write_text(kept, text)


def keep_overrides(directory: Path, overrides: Sequence[str]) -> None:
    """Keep what a run was asked for in its directory, which is made if need be."""
    file = directory / OVERRIDES_FILE
    text = yaml.safe_dump(list(overrides))
    write_text(file, text)


def keep_change(directory: Path, overrides: Sequence[str], files_from: Path | None) -> None:
    """Change the settings of a run in its directory; those until now, and results, stay beside.

    Args:
        directory: The run's directory.
        overrides: The changes, which `evojax_merge.config.changed` has taken.
        files_from: The directory that relative paths among them are read from, where that is
            another one than for the run's.
    """
    from evojax_merge.report.jobs import kept_overrides
    from evojax_merge.runs.budgets import set_aside

    set_aside(directory, (CONFIG_FILE, OVERRIDES_FILE))
    new = {one.partition("=")[0] for one in overrides}
    others = [one for one in kept_overrides(directory) if one.partition("=")[0] not in new]
    keep_overrides(directory, [*others, *overrides])
    kept = load_config_file(directory / CONFIG_FILE, trust=True)  # of which nothing is run
    text = resolved_yaml(changed(kept, overrides, files_from).config)
    file = directory / CONFIG_FILE
    write_text(file, text)


def keep_code(directory: Path, config: DictConfig, force: bool = False) -> None:
    """Keep the hashes of the user's own code that a run imports, which stays what it was.

    Args:
        directory: The run's directory, which may hold the beginning of the run.
        config: Its configuration, which is trusted.
        force: Whether the code may have changed.

    Raises:
        ConfigError: The code has changed since the run was begun.
        HostsError: Hosts that carry out the run read different code.
    """
    code = own_code_of(plain_of(config))
    told = {name: repr(files) for name, files in code.items()}
    hosts.compare("code", told, "All hosts must read the same code of your own")
    if not hosts.is_first():
        return
    if not force and _was_measured(directory):
        check_own_code(directory, code)
    keep_own_code(directory, code)


@contextlib.contextmanager
def kept_once_begun(directory: Path) -> Iterator[None]:
    """Remove a directory that was not there, or empty, if the block fails before a search.

    What is refused in the first generation of a search, as a measure that does not work, leaves
    nothing either. Folders above that were made for it go with it.
    """
    if not hosts.is_first():
        yield
        return
    new = not directory.exists() or (directory.is_dir() and not any(directory.iterdir()))
    with without_empty_parents(directory):
        try:
            yield
        except LockedError:  # of whoever was faster
            raise
        except BaseException as error:
            refused = isinstance(error, ValueError | OSError) and not _was_measured(directory)
            if new and (refused or not (directory / CHECKPOINTS).exists()):
                shutil.rmtree(directory, ignore_errors=True)
            raise


@contextlib.contextmanager
def without_empty_parents(directory: Path) -> Iterator[None]:
    """Remove the folders above a directory that were not there, if they are empty afterwards."""
    absent = [folder for folder in directory.parents if not folder.exists()]
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # of a folder that is not empty, as those above it
            for folder in absent:
                folder.rmdir()


def _was_measured(directory: Path) -> bool:
    """Whether a generation of a search was saved."""
    return any((directory / CHECKPOINTS).glob("*/[0-9]*"))


def started_from(config: DictConfig) -> Path:
    """The directory from which a run was started, as far as it is still there."""
    started = Path(config.working_directory or ".")
    return started if started.is_dir() else Path()


def files_of_change(config: DictConfig) -> Path | None:
    """Where relative paths of a change are read from; None where the run reads its own there."""
    here = Path.cwd()
    return None if started_from(config).absolute() == here else here
