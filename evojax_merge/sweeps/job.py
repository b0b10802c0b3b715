"""One job of a sweep, as it is done in whatever process a launcher has it done."""

import contextlib
import os
import traceback
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from evojax_merge import api
from evojax_merge.documents.files import write_whole
from evojax_merge.documents.terminal import complain, say
from evojax_merge.report.jobs import ERROR_FILE, FINISHED_FILE, kept_overrides
from evojax_merge.search.interruption import Interrupted, watch
from evojax_merge.search.lock import LockedError
from evojax_merge.sweeps.devices import claim_gpu
from evojax_merge.sweeps.folder import read_sweep


def do_job(directory: str, trust_config: bool, parent: int, config: DictConfig) -> str | None:
    """Begin a job of a sweep, or go on with it, and leave in its folder how it ended.

    A job that is done, or that another process is doing, is passed over.

    Args:
        directory: The folder of the sweep.
        trust_config: Whether what the job's configuration names from elsewhere may be run.
        parent: The process that started the sweep.
        config: What a launcher was given, in which ``job`` is the number of the job.

    Returns:
        What went wrong, or None. It is a text, because not every exception can be pickled.

    Raises:
        Interrupted: A signal came, and this is the process that started the sweep.
    """
    sweep = read_sweep(Path(directory))
    folder = sweep.folder(config.job)
    if (folder / FINISHED_FILE).exists():
        return None
    alone = os.getpid() == parent
    console = Console() if alone else Console(force_terminal=False)  # no bars over one another
    say(console, f"{folder}: {' '.join(kept_overrides(folder))}", label="job")
    try:
        with watch():
            if sweep.gpu_each:
                claim_gpu()
            (folder / ERROR_FILE).unlink(missing_ok=True)
            api.resume(folder, console, trust_config=trust_config)
            write_whole(folder / FINISHED_FILE, lambda partial: partial.touch())
    except LockedError as error:
        say(console, str(error))
    except Interrupted as interrupted:
        if alone:
            raise
        return f"stopped by {interrupted}"
    except Exception as error:  # one job that fails does not end the sweep
        expected = isinstance(error, ValueError | OSError)
        if not expected:
            complain(traceback.format_exc())
        text = str(error) if expected else f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):  # of a full disk; the parent tells
            (folder / ERROR_FILE).write_text(f"{text}\n", encoding="utf-8")
        say(console, f"{folder}: {text}", label="failed:")
        return text
    return None
