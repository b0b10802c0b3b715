"""``evojax-merge report`` makes the web page of a run or of a sweep again."""

from pathlib import Path

from rich.console import Console

from evojax_merge.documents.files import links_out
from evojax_merge.documents.terminal import say
from evojax_merge.report.html.run import write_report
from evojax_merge.report.html.sweep import write_sweep_report
from evojax_merge.report.jobs import look_at
from evojax_merge.report.run_files import CONFIG_FILE
from evojax_merge.sweeps.folder import is_sweep, read_sweep


def run(console: Console, *, directory: Path) -> None:
    """Run the command.

    Args:
        console: Where the command says what it did.
        directory: The directory of a run or of a sweep, which may be going on or have stopped.

    Raises:
        ValueError: There is no run, or a link in it leads elsewhere.
    """
    if links := links_out(directory):
        raise ValueError(
            f"{links[0]}: leads out of the directory, and the page would show what is there; put a "
            "file or a folder in the place of the link"
        )
    if not is_sweep(directory):
        say(console, f"report: {write_report(directory)}")
        return
    jobs = [look_at(directory, name) for name in read_sweep(directory).jobs]
    for job in jobs:
        if (directory / job.name / CONFIG_FILE).is_file():
            write_report(directory / job.name, finished=job.state == "done")
    say(console, f"report: {write_sweep_report(directory, jobs)}")
