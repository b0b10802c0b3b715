"""``evojax-merge show`` says how a run or a sweep stands, while it goes on too."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from evojax_merge.config import read_config_file
from evojax_merge.documents.terminal import cell, say, show
from evojax_merge.report.going_on import Command, command, place_of, sweep_commands
from evojax_merge.report.jobs import counted, look_at, shared
from evojax_merge.report.progress import duration
from evojax_merge.report.run_files import CONFIG_FILE, neither
from evojax_merge.report.standing import Standing


def run(console: Console, *, directory: Path) -> None:
    """Run the command, which reads alone.

    Args:
        console: Where the command says what it found.
        directory: The directory of a run or of a sweep.

    Raises:
        ValueError: The directory holds neither, or a file in it is damaged.
    """
    from evojax_merge.sweeps.folder import is_sweep

    if not directory.exists():
        raise ValueError(f"{directory}: no such directory; give that of a run or of a sweep")
    if is_sweep(directory):
        _sweep(directory, console)
        return
    if not (directory / CONFIG_FILE).is_file():
        raise ValueError(neither(directory))
    standing = Standing.of(directory)
    for line in standing.lines():
        say(console, line)
    for table in standing.tables():
        show(console, table)
    for line in standing.remarks():
        say(console, line)
    say(console, "go on with")
    for text, purpose in standing.commands():
        say(console, f"  {text}  ({purpose})")


def _sweep(directory: Path, console: Console) -> None:
    """Say how each job of a sweep stands, and the commands to go on with."""
    from evojax_merge.sweeps.folder import read_sweep

    names = read_sweep(directory).jobs
    jobs = [look_at(directory, name) for name in names]
    say(console, f"{directory}: a sweep of {len(jobs)} jobs, {counted(jobs)}")
    common = shared([job.overrides for job in jobs])
    table = Table()
    for column in ("run", "overrides", "state", "doing", "best so far"):
        table.add_column(cell(column), overflow="fold")
    for job in jobs:
        own = " ".join(one for one in job.overrides if one not in common)
        status = Standing.of(directory / job.name).status
        doing, best = job.why, ""
        if status is not None:
            if job.state == "running":
                doing = status.doing
                doing += "" if status.left is None else f", {duration(status.left)} left"
            best = "\n".join(f"{one.search}: {one.shown}" for one in status.best)
        table.add_row(*map(cell, (job.name, own, job.state, doing, best)))
    show(console, table)
    say(console, "go on with")
    here, file = Path.cwd(), directory / jobs[0].name / CONFIG_FILE
    config = read_config_file(file) if file.is_file() else {}
    showing = command("show", place_of(directory / jobs[0].name, here))
    found = sweep_commands(place_of(directory, here), config, jobs)
    for text, purpose in [*found, Command(showing, "shows how a job stands")]:
        say(console, f"  {text}  ({purpose})")
