"""One job of a sweep, as it is done in whatever process a launcher has it done."""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from evojax_merge import api, hosts
from evojax_merge.documents.files import write_whole
from evojax_merge.documents.terminal import complain, say
from evojax_merge.report.jobs import ERROR_FILE, FINISHED_FILE, kept_overrides
from evojax_merge.search.interruption import Interrupted, watch
from evojax_merge.search.lock import LockedError
from evojax_merge.sweeps.devices import claim_gpu
from evojax_merge.sweeps.folder import read_sweep

_CONNECTED = hosts.DistributedConfig(enabled=False)
"""Whoever does a job is connected with others by now, or is to do it alone."""


def do_job(
    directory: str,
    trust_config: bool,
    force: bool,
    parent: int,
    command: Sequence[str],
    config: DictConfig,
) -> str | None:
    """Begin a job of a sweep, or go on with it, and leave in its folder how it ended.

    A job that is done, or that another process is doing, is passed over. Several hosts do a job
    together, of which the first one writes. There, whatever ends a job ends the sweep: the others
    cannot know whether they meet the same.

    Args:
        directory: The folder of the sweep.
        trust_config: Whether what the job's configuration names from elsewhere may be run.
        force: Whether code of the user's own may have changed since the sweep was begun.
        parent: The process that started the sweep.
        command: The command that started the sweep, which each job keeps as its own.
        config: What a launcher was given, in which ``job`` is the number of the job.

    Returns:
        What went wrong, or None. It is a text, because not every exception can be pickled.

    Raises:
        Interrupted: A signal came, and this is the process that started the sweep.
        Exception: Several hosts do the job, and it failed.
    """
    sys.orig_argv = list(command)  # and not that of a launcher's worker
    sweep = read_sweep(Path(directory))
    folder = sweep.folder(config.job)
    if hosts.agree((folder / FINISHED_FILE).exists()):
        return None
    alone = os.getpid() == parent
    console = Console() if alone else Console(force_terminal=False)  # no bars over one another
    console.quiet = not hosts.is_first()
    say(console, f"{folder}: {' '.join(kept_overrides(folder))}", label="job")
    try:
        with watch():
            if sweep.gpu_each and hosts.active() is None:
                claim_gpu()
            if hosts.is_first():
                (folder / ERROR_FILE).unlink(missing_ok=True)
            api.resume(
                folder, console, trust_config=trust_config, force=force, distributed=_CONNECTED
            )
            if hosts.is_first():
                write_whole(folder / FINISHED_FILE, lambda partial: partial.touch())
    except LockedError as error:
        if hosts.active() is not None:
            raise
        say(console, str(error))
    except Interrupted as interrupted:
        if alone:
            raise
        return f"stopped by {interrupted}"
    except Exception as error:  # one job that fails does not end the sweep
        if isinstance(error, hosts.HostsError) or not hosts.is_first():
            raise
        expected = isinstance(error, ValueError | OSError)
        if not expected:
            complain(traceback.format_exc())
        text = str(error) if expected else f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):  # of a full disk; the parent tells
            (folder / ERROR_FILE).write_text(f"{text}\n", encoding="utf-8")
        say(console, f"{folder}: {text}", label="failed:")
        if hosts.active() is not None:
            raise
        return text
    return None


def in_turn(task: Callable[[DictConfig], str | None], jobs: Sequence[int]) -> list[str | None]:
    """Do jobs one after another until one fails, as launchers do not.

    Args:
        task: What is done for a job, as for a launcher.
        jobs: The numbers of the jobs.
    """
    return [task(DictConfig({"job": job})) for job in jobs]
