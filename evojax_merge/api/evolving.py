"""Searching for the best merge, and going on with a search.

What only runs need (orbax, evosax, matplotlib) is imported by the functions that run something.
"""

import contextlib
import datetime
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from evojax_merge import hosts
from evojax_merge.api.merging import check_regular
from evojax_merge.api.run_directory import (
    directory_of_all,
    files_of_change,
    held,
    keep_change,
    keep_code,
    keep_config,
    kept_once_begun,
    log_of,
    started_from,
)
from evojax_merge.config import (
    Change,
    ConfigError,
    build,
    changed,
    check_budget,
    compilation_cache,
    compose,
    flat_settings,
    load_config_file,
    named_files,
    own_code_of,
    plain_of,
    resolved_yaml,
    settings_by_key,
)
from evojax_merge.config.experiment import Experiment
from evojax_merge.documents.files import links_out
from evojax_merge.documents.terminal import notebook_console, say
from evojax_merge.measuring.compilations import keeping
from evojax_merge.report.run_files import CONFIG_FILE
from evojax_merge.search.lock import ReadOnlyError

if TYPE_CHECKING:
    from rich.console import Console

    from evojax_merge.report.course import Listener
    from evojax_merge.runs.run import Run
    from evojax_merge.runs.trial import Trial


def evolve(
    config: DictConfig | Sequence[str],
    directory: str | Path | None = None,
    console: "Console | None" = None,
    *,
    overrides: Sequence[str] | None = None,
    on_start: Callable[[], object] = lambda: None,
    callbacks: Sequence[Any] = (),
) -> "Run":
    """Search for the best merge.

    Args:
        config: A composed configuration, or the overrides that the command line would take, e.g.
            ``["model.base=DIR", "model.sources=[DIR,DIR]", "fitness.data=items.jsonl"]``.
        directory: Where everything is left; by default, ``runs/NAME/DATE_TIME``. If it holds the
            beginning of the same run, that is continued. A refused start leaves no directory.
        console: Where progress is shown; by default, in a notebook below the cell, and else
            nowhere. ``Console(quiet=True)`` shows it nowhere in a notebook, too.
        overrides: What the configuration was composed from, kept beside it for tables of sweeps.
        on_start: A function that is called when all is checked and the weights are read.
        callbacks: Functions that are told of each generation, with a
            `evojax_merge.report.course.Generation`, and `evojax_merge.report.course.Listener`
            objects. What they raise ends the run, which `resume` continues.

    With several processes (the configuration's ``distributed``) each calls this, and the first one
    writes.

    Raises:
        ValueError: The configuration, a checkpoint or the data cannot be used; nothing expensive
            has happened then.
        HostsError: Several processes cannot go on together.
        LockedError: Another process is writing the directory.
        Interrupted: A signal came; `resume` continues.
    """
    if not isinstance(config, DictConfig):
        overrides = list(config)
        config = compose(config)
    console = console or notebook_console()
    hosts.start(hosts.DistributedConfig(**config.distributed))
    if directory is None:
        stamp = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        directory = Path("runs") / config.name / stamp
    with hosts.together():
        directory = directory_of_all(directory)
        with keeping(compilation_cache(config)), kept_once_begun(directory):
            from evojax_merge.report.course import listeners_of
            from evojax_merge.runs.run import run

            listeners = listeners_of(callbacks)
            config.working_directory = str(Path.cwd())
            text = resolved_yaml(config)
            hosts.compare("settings", settings_by_key(config), "Give all hosts the same ones")
            experiment = build(config)
            listeners = [*_tracking(experiment, config), *listeners]
            with held(directory):
                if hosts.is_first():
                    keep_config(directory, text, overrides)
                keep_code(directory, config)
                hosts.check_shared(directory)
                with log_of(directory):
                    return run(experiment, directory, console, on_start, listeners, _facts(config))


def dry_run(config: DictConfig | Sequence[str], console: "Console | None" = None) -> "Trial":
    """Measure one candidate of a search, and say what the whole run would take; it leaves nothing.

    Programs that it compiles are kept in the compilation cache, for the run.

    Args:
        config: As for `evolve`.
        console: Where is said what happens; by default, as by `evolve`.

    Raises:
        ValueError: As for `evolve`.
    """
    console = console or notebook_console()
    if not isinstance(config, DictConfig):
        config = compose(config)
    hosts.start(hosts.DistributedConfig(**config.distributed))
    with hosts.together(), keeping(compilation_cache(config)):
        from rich.console import Console

        from evojax_merge.runs.trial import try_out

        shown = console if console is not None and hosts.is_first() else Console(quiet=True)
        return try_out(build(config), functools.partial(say, shown))


def _tracking(experiment: Experiment, config: DictConfig) -> "list[Listener]":
    """What has the experiment's tracker follow its run, if there is one."""
    if experiment.tracker is None:
        return []
    from evojax_merge.trackers import Tracking

    return [Tracking(experiment.tracker, experiment.name, flat_settings(config))]


def _facts(config: DictConfig) -> dict[str, Any]:
    """What a configuration tells of where numbers come from, in the process that writes."""
    if not hosts.is_first():
        return {}
    return {"files": named_files(config), "code": own_code_of(plain_of(config))}


def resume(
    directory: str | Path,
    console: "Console | None" = None,
    *,
    overrides: Sequence[str] = (),
    trust_config: bool = False,
    force: bool = False,
    distributed: hosts.DistributedConfig | None = None,
    callbacks: Sequence[Any] = (),
) -> "Run":
    """Continue an interrupted run, to the same result to the bit as without the interruption.

    It may go on with other numbers of hosts and devices than it began with. Relative paths in its
    configuration are read from where it was started. What a finished run left is read where it
    cannot be written.

    With a larger budget a run goes on from its last generation, whether or not it was finished.
    The configuration and the results until then are kept as ``config.1.yaml`` and the like.

    Args:
        directory: The directory of the run.
        console: Where progress is shown; by default, as by `evolve`.
        overrides: What changes, as ``["search.evaluations=2000"]``; see
            `evojax_merge.config.continuation.FREE`.
        trust_config: Whether what the run's configuration names from outside this package may be
            imported and called.
        force: Whether code of the user's own may have changed since the run was begun.
        distributed: The processes that continue it together, each of which calls this; by default,
            those of a cluster that is recognised, or this one alone.
        callbacks: As for `evolve`.

    Raises:
        ConfigError: The directory holds no run, its configuration is not to be trusted, code of the
            user's own has changed, or a change cannot be.
        HostsError: Several processes cannot go on together.
        RecipeError: Something in the directory is no regular file.
        LockedError: Another process is writing the directory.
    """
    console = console or notebook_console()
    hosts.start(distributed)
    with hosts.together():
        directory = directory_of_all(Path(directory).absolute())
        hosts.check_shared(directory)
        return _resume(directory, console, list(overrides), trust_config, force, callbacks)


def _resume(
    directory: Path,
    console: "Console | None",
    overrides: list[str],
    trust_config: bool,
    force: bool,
    callbacks: Sequence[Any],
) -> "Run":
    from evojax_merge.report.course import listeners_of

    listeners = listeners_of(callbacks)
    config = load_config_file(directory / CONFIG_FILE, trust=trust_config)
    files_from = files_of_change(config)
    change = changed(config, overrides, files_from)
    if change.values:
        told = settings_by_key(change.config)
        hosts.compare("settings", told, "Give all hosts the same changes")
    if (links := links_out(directory)) and not trust_config:
        raise ConfigError(
            f"{links[0]}: leads out of the run's directory, and going on would write elsewhere; "
            "put a file or a folder in the place of the link, or say that you trust it with "
            "trust_config=True (--trust-config)"
        )
    check_regular(directory)
    try:
        with (
            held(directory),
            contextlib.chdir(started_from(config)),
            keeping(compilation_cache(config)),
            log_of(directory),
        ):
            from evojax_merge.runs.budgets import spent
            from evojax_merge.runs.run import run

            experiment = build(change.config)
            listeners = [*_tracking(experiment, change.config), *listeners]
            keep_code(directory, config, force)
            if not change.values:
                facts = _facts(config)
                return run(experiment, directory, console, listeners=listeners, facts=facts)
            check_budget(change, config, spent(directory))
            keep = functools.partial(keep_change, directory, overrides, files_from)
            return _run_on(directory, console, experiment, change, keep, listeners)
    except ReadOnlyError as error:
        from evojax_merge.runs.run import left_by

        alone = hosts.active() is None and not change.values
        if alone and (finished := left_by(directory, console)) is not None:
            return finished
        raise ValueError(
            f"{error.filename}: cannot be written ({error.strerror}), and the run is not finished; "
            "copy it to where it can be, and resume the copy"
        ) from error


def _run_on(
    directory: Path,
    console: "Console | None",
    experiment: Experiment,
    change: Change,
    keep: Callable[[], object],
    listeners: "Sequence[Listener]",
) -> "Run":
    """Go on with a run whose configuration was changed, which is kept once all is checked."""
    from evojax_merge.report.jobs import FINISHED_FILE
    from evojax_merge.runs.run import run

    if console is not None and hosts.is_first():
        for key, (before, now) in change.values.items():
            say(console, f"{key}={now}, until now {before}")
        for note in change.notes:
            say(console, note)
    job_of_sweep = (directory / FINISHED_FILE).exists()
    done = run(experiment, directory, console, keep, listeners, _facts(change.config))
    if job_of_sweep and hosts.is_first():
        (directory / FINISHED_FILE).touch()
    return done
