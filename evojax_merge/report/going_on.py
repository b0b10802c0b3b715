"""The commands with which one goes on from a run or from a sweep."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evojax_merge.config import foreign_factories
from evojax_merge.report.jobs import Job

PROGRAM = "evojax-merge"


class Command(NamedTuple):
    """A command.

    Attributes:
        text: The command, as a shell takes it.
        purpose: What it does.
    """

    text: str
    purpose: str


def place_of(path: Path, start: str | Path | None) -> str:
    """What commands call a path: its way from where they are given, if it is below that."""
    whole = path.absolute()
    if start and whole.is_relative_to(start):
        return str(whole.relative_to(start))
    return str(whole)


def command(*words: str) -> str:
    """A command of this program."""
    return shlex.join([PROGRAM, *words])


def selecting(place: str, choice: str, *trust: str) -> str:
    """The command that builds a member of a front."""
    return command("apply", place, "--select", choice, "--out", "DIR", *trust)


def trusting(config: Mapping[str, Any]) -> list[str]:
    """The flag that commands need for a run that names code from outside this package."""
    return ["--trust-config"] if foreign_factories(config) else []


def commands(
    place: str,
    config: Mapping[str, Any],
    *,
    state: str,
    best: str = "",
    has_front: bool = False,
    is_exported: bool = False,
) -> list[Command]:
    """The commands that go on from a run.

    Args:
        place: What commands call its directory.
        config: Its configuration, as plain values.
        state: ``finished``, ``running``, or how else it stands.
        best: What commands call the recipe of the best so far, if the run has not finished.
        has_front: Whether there is a front.
        is_exported: Whether the winner was exported.
    """
    trust, found = trusting(config), []
    if state not in ("finished", "running"):
        found.append(Command(command("resume", place, *trust), "goes on with it"))
    if best:
        text = command("apply", best, "--out", "DIR", *trust)
        found.append(Command(text, "builds the best so far as a checkpoint"))
    if state != "finished":
        return found
    text = command("apply", place, "--out", "DIR", *trust)
    found.append(Command(text, "builds the winner as a checkpoint"))
    if has_front:
        purpose = "builds a member of the front: knee, a number, or weights of tasks"
        found.append(Command(selecting(place, "knee", *trust), purpose))
    text = command("evaluate", place, *trust)
    found.append(Command(text, "measures the winner by the run's own measure"))
    if is_exported:
        text = command("push", place, "OWNER/NAME")
        found.append(Command(text, "uploads the export to the hub, with its model card"))
    search = config.get("search")
    budget = search.get("evaluations") if isinstance(search, Mapping) else None
    if isinstance(budget, int):
        text = command("resume", place, f"search.evaluations={2 * budget}", *trust)
        found.append(Command(text, "searches on with twice the budget"))
    return found


def further_commands(
    place: str,
    config: Mapping[str, Any],
    overrides: Sequence[str],
    *,
    draws: bool,
    splits: Sequence[str],
    has_coefficients: bool,
) -> list[Command]:
    """More commands that go on from a run, for a page that has room for them.

    Args:
        place: What commands call its directory.
        config: Its configuration, as plain values.
        overrides: What it was asked for.
        draws: Whether its models draw.
        splits: The splits that it measured, those that were compared first; none before its end.
        has_coefficients: Whether its winner is a recipe of coefficients.
    """
    trust, found = trusting(config), []
    for split in splits[1:]:
        text = command("evaluate", place, "--split", split, *trust)
        found.append(Command(text, f"measures the winner on the {split} split"))
    if draws:
        text = command("apply", place, "--images", "PROMPTS.txt", *trust)
        found.append(Command(text, "draws prompts of your own, one a line"))
    if has_coefficients:
        text = command("convert", f"{place}/recipe.yaml", "--out", "MERGED.yml")
        found.append(Command(text, "writes the recipe as a YAML of mergekit"))
    found.append(Command(command("report", place), "makes this page again"))
    seed = config.get("seed")
    if overrides and isinstance(seed, int):
        seeds = ",".join(str(seed + more) for more in range(1, 4))
        text = command("evolve", "-m", *_with(overrides, "seed", seeds))
        found.append(Command(text, "searches with three more seeds, as a sweep"))
    return found


def sweep_commands(place: str, config: Mapping[str, Any], jobs: Sequence[Job]) -> list[Command]:
    """The commands that go on from a sweep.

    Args:
        place: What commands call its folder.
        config: The configuration of one of its jobs, as plain values.
        jobs: How its jobs stand.
    """
    trust, found = trusting(config), []
    done = [job for job in jobs if job.state == "done"]
    if any(job.state not in ("done", "running") for job in jobs):
        found.append(Command(command("resume", place, *trust), "does the jobs that are not done"))
    elif len(done) == len(jobs):
        text = command("resume", place, "search.evaluations=N", *trust)
        found.append(Command(text, "searches on in every job, to N candidates"))
    for job in done[:1]:
        text = command("apply", f"{place}/{job.name}", "--out", "DIR", *trust)
        found.append(Command(text, "builds the winner of a job as a checkpoint"))
    found.append(Command(command("report", place), "makes the web pages of the sweep and its jobs"))
    return found


def _with(overrides: Sequence[str], key: str, value: str) -> list[str]:
    own = [one for one in overrides if not re.match(rf"\+*{re.escape(key)}=", one)]
    kept = [one for one in own if not one.startswith("hydra.run.dir=")]
    return [*kept, f"{key}={value}"]
