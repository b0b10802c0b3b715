"""Other settings for the jobs of a sweep that goes on."""

from collections.abc import Sequence

from rich.console import Console

from evojax_merge.api.run_directory import files_of_change, keep_change
from evojax_merge.config import changed, check_budget, load_config_file
from evojax_merge.documents.terminal import say
from evojax_merge.report.run_files import CONFIG_FILE
from evojax_merge.search.lock import locked
from evojax_merge.sweeps.folder import Sweep


def change_jobs(sweep: Sweep, changes: Sequence[str], console: Console, trust_config: bool) -> None:
    """Change every job of a sweep in the same way; those that were done then are not.

    Args:
        sweep: The sweep.
        changes: The changes, as ``search.evaluations=2000``.
        console: Where it is said.
        trust_config: Whether the jobs' configurations may name code from elsewhere.

    Raises:
        ConfigError: A job cannot change so; none was changed.
        LockedError: Another process is doing a job; those before it were changed.
    """
    from evojax_merge.runs.budgets import spent  # with evosax, which uses a device when imported

    differing = []
    for job in range(len(sweep.jobs)):
        folder = sweep.folder(job)
        config = load_config_file(folder / CONFIG_FILE, trust=trust_config)
        files_from = files_of_change(config)
        change = changed(config, changes, files_from)
        check_budget(change, config, spent(folder))
        if change.values:
            differing.append((folder, files_from, change))
    for folder, files_from, change in differing:
        with locked(folder):
            keep_change(folder, changes, files_from)
        told = ", ".join(f"{key} {now} (was {was})" for key, (was, now) in change.values.items())
        say(console, "; ".join([f"{folder}: {told}", *change.notes]))
