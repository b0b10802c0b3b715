"""How the jobs of a sweep stand, read from their folders, whichever machine they ran on."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import yaml
from rich.table import Table

from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import read_text
from evojax_merge.documents.terminal import cell
from evojax_merge.documents.yaml_text import load_yaml
from evojax_merge.report.run_files import CHECKPOINTS, HISTORY_FILE, OVERRIDES_FILE
from evojax_merge.search.lock import holder

ERROR_FILE = "error.txt"
"""What a failed job leaves in its folder."""

FINISHED_FILE = "finished"
"""The empty file that a job leaves when everything of it is done."""

State = Literal["done", "running", "failed", "half done", "not begun"]

_MOST = 2**16
"""The most bytes of an error that are read."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A job of a sweep.

    Attributes:
        name: Its folder, relative to the sweep's.
        overrides: What it was asked for.
        state: How it stands.
        why: What is known of a job that is not done.
    """

    name: str
    overrides: tuple[str, ...]
    state: State
    why: str


def look_at(directory: Path, name: str, told: str | None = None) -> Job:
    """How a job of a sweep stands.

    Args:
        directory: The folder of the sweep.
        name: The folder of the job, relative to that.
        told: What its process told of its end, for one that could not write.
    """
    folder = directory / name
    overrides = tuple(kept_overrides(folder))
    if (folder / FINISHED_FILE).is_file():
        return Job(name, overrides, "done", "")
    if by := holder(folder):
        return Job(name, overrides, "running", f"by {by}")
    candidates = _lines(folder / HISTORY_FILE)
    kept = f"{candidates} candidates are kept" if candidates else ""
    error = _error(folder / ERROR_FILE)
    if error or told:
        return Job(name, overrides, "failed", "; ".join(filter(None, [error or told, kept])))
    if candidates or (folder / CHECKPOINTS).is_dir():
        return Job(name, overrides, "half done", kept)
    return Job(name, overrides, "not begun", "")


def kept_overrides(folder: Path) -> list[str]:
    """What a run was asked for, as it is kept in its folder; nothing where that cannot be read."""
    try:
        found = load_yaml(read_text(folder / OVERRIDES_FILE))
    except (DocumentError, yaml.YAMLError, OSError):
        return []
    return [str(one) for one in found] if isinstance(found, list) else []


def jobs_table(jobs: Sequence[Job]) -> Table:
    """The jobs that are not done, and why."""
    table = Table(title="jobs that are not done", title_justify="left", show_lines=True)
    for column in ("run", "overrides", "state", "why"):
        table.add_column(cell(column), overflow="fold")
    common = shared([job.overrides for job in jobs])
    for job in jobs:
        if job.state != "done":
            own = " ".join(one for one in job.overrides if one not in common)
            table.add_row(*map(cell, (job.name, own, job.state, job.why)))
    return table


def counted(jobs: Sequence[Job]) -> str:
    """How many jobs stand how, e.g. ``2 done, 1 failed``."""
    states: Mapping[str, int] = {}
    for job in jobs:
        states = {**states, job.state: states.get(job.state, 0) + 1}
    return ", ".join(f"{number} {state}" for state, number in states.items())


def shared(labels: Sequence[Sequence[str]]) -> set[str]:
    """Overrides that all jobs share, which tell none from another."""
    return set.intersection(*map(set, labels)) if len(labels) > 1 else set()


def _error(file: Path) -> str:
    try:
        return read_text(file, _MOST).strip()
    except (DocumentError, OSError):
        return ""


def _lines(file: Path) -> int:
    """How many lines a file has, 0 where there is none."""
    if not file.is_file():
        return 0
    with file.open("rb") as stream:
        return sum(1 for line in stream if line.endswith(b"\n"))
