"""Carrying out a sweep, or the rest of it."""

import dataclasses
import functools
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from evojax_merge import hosts
from evojax_merge.config import (
    ConfigError,
    continuing,
    foreign_factories,
    load_config_file,
    read_config_file,
)
from evojax_merge.config.launchers import IN_TURN, Launcher, given_launcher, launch
from evojax_merge.config.sweeping import JOB_NAME
from evojax_merge.documents.files import irregular, links_out
from evojax_merge.documents.terminal import announce_imports, say
from evojax_merge.report.jobs import ERROR_FILE, FINISHED_FILE, counted, look_at
from evojax_merge.report.run_files import CONFIG_FILE
from evojax_merge.report.sweep import show_sweep
from evojax_merge.runs.provenance import shown_command
from evojax_merge.search.interruption import Interrupted
from evojax_merge.sweeps.changing import change_jobs
from evojax_merge.sweeps.folder import Sweep, check_whole, read_sweep
from evojax_merge.sweeps.job import do_job, in_turn
from evojax_merge.sweeps.several import connect


class SweepError(ValueError):
    """The error that jobs of a sweep are not done."""


def carry_out(sweep: Sweep, console: Console, *, trust_config: bool, force: bool = False) -> None:
    """Do the jobs of a sweep that are not done, and show how all of them stand.

    Several hosts do every job together. A job that fails ends the sweep there, and those that have
    failed before come last.

    Args:
        sweep: The sweep.
        console: Where it is shown.
        trust_config: Whether what the jobs' configurations name from elsewhere may be run.
        force: Whether code of the user's own may have changed since the sweep was begun.

    Raises:
        SweepError: Jobs are not done in the end.
        ConfigError: The launcher or one of its settings does not exist.
        HostsError: This process is not the first one of several, and they cannot go on.
        Interrupted: A signal came.
    """
    waiting = hosts.agree(_waiting(sweep))
    told: dict[int, str | None] = {}
    stopped: Exception | None = None
    try:
        if waiting:
            command = tuple(shown_command(sys.orig_argv))
            task = functools.partial(
                do_job, str(sweep.directory), trust_config, force, os.getpid(), command
            )
            if hosts.active() is not None:  # where a failure ends the sweep
                returned = in_turn(task, waiting)
            else:
                returned = launch(sweep.launcher, JOB_NAME, str(sweep.directory), task, waiting)
            told = dict(zip(waiting, returned, strict=True))
    except Interrupted:
        say(console, f"continue with: {_continuing(sweep)}")
        raise
    except Exception as error:  # of the launcher: a killed worker, a queue that is not there
        if not hosts.is_first() or (isinstance(error, ConfigError) and hosts.active() is None):
            raise
        stopped = error
    with hosts.together():
        if hosts.is_first():
            _conclude(sweep, told, stopped, console)
        hosts.barrier()  # or those that write nothing would be gone before it is written


def _conclude(
    sweep: Sweep, told: Mapping[int, str | None], stopped: Exception | None, console: Console
) -> None:
    """Show how all jobs stand, and raise if some are not done."""
    jobs = [look_at(sweep.directory, name, told.get(at)) for at, name in enumerate(sweep.jobs)]
    show_sweep(sweep.directory, jobs, console)
    if all(job.state == "done" for job in jobs):
        say(console, f"everything is in {sweep.directory}")
        return
    message = f"{sweep.directory}: of {len(jobs)} jobs {counted(jobs)}"
    if stopped is not None and hosts.active() is not None:
        message += f"; {stopped}"
    elif stopped is not None:
        message += (
            f"; the launcher {sweep.launcher.name} stopped with {type(stopped).__name__}: {stopped}"
        )
    raise SweepError(
        f"{message}; go on, and try again what failed, with: {_continuing(sweep)}"
    ) from stopped


def resume_sweep(
    directory: Path,
    console: Console,
    *,
    overrides: Sequence[str] = (),
    changes: Sequence[str] = (),
    gpu_each: bool = False,
    trust_config: bool = False,
    force: bool = False,
    distributed: hosts.DistributedConfig | None = None,
) -> None:
    """Go on with a sweep: half-done jobs go on, the rest begins, and what failed is tried again.

    Args:
        directory: The folder of the sweep.
        console: Where it is shown.
        overrides: How the jobs are started (``hydra/launcher=NAME``, ``hydra.launcher.KEY=VALUE``);
            by default, as before.
        changes: What changes in every job, as ``search.evaluations=2000``; jobs that are done go
            on, too.
        gpu_each: Whether each process that runs jobs has a GPU of its own; it has as well if the
            sweep was begun so.
        trust_config: Whether code that the folder names from elsewhere may be run.
        force: Whether code of the user's own may have changed since the sweep was begun.
        distributed: The hosts that go on together, each of which calls this; by default, those of
            a cluster that is recognised, or this one alone.

    Raises:
        ConfigError: The folder holds no sweep, is not to be trusted, or a change cannot be; nothing
            was run.
        HostsError: Several hosts cannot go on together.
        SweepError: Jobs are not done in the end.
        Interrupted: A signal came.
    """
    sweep = read_sweep(directory.absolute())
    check_whole(sweep)
    kept, launcher = _launchers(sweep, overrides)
    connect(launcher, distributed or hosts.DistributedConfig(), gpu_each)
    console.quiet = console.quiet or not hosts.is_first()
    with hosts.together():
        sweep = dataclasses.replace(sweep, directory=Path(hosts.agree(str(sweep.directory))))
        hosts.check_shared(sweep.directory)
    if trust_config:
        _announce(sweep, kept, console)
    else:
        _check(sweep, kept)
    if changes:
        with hosts.together():
            if hosts.is_first():
                change_jobs(sweep, changes, console, trust_config)
            hosts.barrier()
    sweep = dataclasses.replace(
        sweep, launcher=_apart(sweep.directory, launcher), gpu_each=gpu_each or sweep.gpu_each
    )
    carry_out(sweep, console, trust_config=trust_config, force=force)


def _launchers(sweep: Sweep, overrides: Sequence[str]) -> tuple[Launcher, Launcher]:
    """What of the folder's own launcher stays beside the overrides, and what is used in all."""
    if not overrides:
        return sweep.launcher, sweep.launcher
    named = any(override.startswith("hydra/launcher=") for override in overrides)
    own = [] if named else [f"hydra/launcher={sweep.launcher.name}"]
    given = given_launcher([*own, *overrides])
    settings = {} if named else sweep.launcher.settings
    kept = {key: value for key, value in settings.items() if key not in given.settings}
    name = IN_TURN if named else sweep.launcher.name
    return Launcher(name, kept), Launcher(given.name, {**kept, **given.settings})


def _check(sweep: Sweep, launcher: Launcher) -> None:
    """Raise if something in a folder that may be a stranger's would have code run."""
    directory = sweep.directory
    trust = "say that you trust it with --trust-config"
    if links := links_out(directory):
        raise ConfigError(
            f"{links[0]}: leads out of the sweep's folder, and going on would write elsewhere; put "
            f"a file or a folder in the place of the link, or {trust}"
        )
    if found := irregular(directory):
        raise ConfigError(f"{found[0]}: is no regular file; replace it by one, or remove it")
    if foreign := launcher.foreign:
        raise ConfigError(
            f"{directory}: its launcher has settings that may run code: {', '.join(foreign)}; "
            f"give another launcher, as hydra/launcher={IN_TURN}, or {trust}"
        )
    for job in range(len(sweep.jobs)):
        if not _is_done(sweep, job):
            load_config_file(sweep.folder(job) / CONFIG_FILE)


def _announce(sweep: Sweep, launcher: Launcher, console: Console) -> None:
    configs = [
        read_config_file(sweep.folder(job) / CONFIG_FILE)
        for job in range(len(sweep.jobs))
        if not _is_done(sweep, job)
    ]
    names = [name for config in configs for name in foreign_factories(config)]
    announce_imports(console, dict.fromkeys([*names, *launcher.foreign]))


def _apart(directory: Path, launcher: Launcher) -> Launcher:
    """The launcher with a folder for its files that nobody can have filled before.

    submitit reads pickles there, which are code.
    """
    if not launcher.name.startswith("submitit") or "submitit_folder" in launcher.settings:
        return launcher
    files = directory / ".submitit"
    files.mkdir(exist_ok=True)
    fresh = tempfile.mkdtemp(prefix="resume-", dir=files)
    return Launcher(launcher.name, {**launcher.settings, "submitit_folder": f"{fresh}/%j"})


def _continuing(sweep: Sweep) -> str:
    """The command that goes on with a sweep, with the trust that its jobs and launcher need."""
    files = [sweep.folder(job) / CONFIG_FILE for job in range(len(sweep.jobs))]
    named = any(foreign_factories(read_config_file(file)) for file in files if file.is_file())
    return continuing(sweep.directory, named or bool(sweep.launcher.foreign))


def _waiting(sweep: Sweep) -> list[int]:
    """The jobs that are not done; those that failed come last, where a failure ends a sweep."""
    waiting = [job for job in range(len(sweep.jobs)) if not _is_done(sweep, job)]
    if hosts.active() is None:
        return waiting
    return sorted(waiting, key=lambda job: (sweep.folder(job) / ERROR_FILE).exists())


def _is_done(sweep: Sweep, job: int) -> bool:
    return (sweep.folder(job) / FINISHED_FILE).is_file()
