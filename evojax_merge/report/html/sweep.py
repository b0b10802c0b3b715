"""The report of a sweep as a web page, with links to those of its jobs."""

import math
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evojax_merge.fitness.base import Measure
from evojax_merge.report.going_on import place_of, sweep_commands
from evojax_merge.report.html.bars import Bar, bars_of
from evojax_merge.report.html.kept import Kept, read_run
from evojax_merge.report.html.page import write_page
from evojax_merge.report.html.sweep_curves import Run, sweep_panels
from evojax_merge.report.jobs import Job, counted, shared
from evojax_merge.report.repetitions import spread
from evojax_merge.report.results import EVOLVED, Result, choice_line, interval_text
from evojax_merge.report.run_files import HISTORY_FILE, REPORT_FILE
from evojax_merge.report.settings import SEED, setting_of, swept

_MOST_BYTES = 200 * 2**20
"""The most bytes of all histories for which curves are drawn."""


class Group(NamedTuple):
    """Jobs that differ in the seed alone.

    Attributes:
        values: The value of each swept key.
        runs: How many of them have a result.
        mean: The mean of their scores, as text.
        interval: The 95 % interval of that over seeds, as text.
        spread: The lowest and the highest, as text.
        bar: A picture of that.
        tasks: The mean of each of several tasks, as text.
    """

    values: Sequence[str]
    runs: int
    mean: str
    interval: str
    spread: str
    bar: Bar | None
    tasks: Sequence[str]


class Comparison(NamedTuple):
    """Groups that were measured on the same items by the same measure.

    Attributes:
        head: What was measured.
        counted: On what.
        tasks: What each of several tasks measures.
        groups: The groups, the best first.
    """

    head: str
    counted: str
    tasks: Sequence[str]
    groups: Sequence[Group]


class JobRow(NamedTuple):
    """A job.

    Attributes:
        name: Its folder.
        link: Its report, if there is one.
        values: The value of each swept key, the seed among them.
        state: How it stands.
        why: What is known of a job that is not done.
        score: The score of its winner, as text.
        interval: The interval of that over items, as text.
    """

    name: str
    link: str
    values: Sequence[str]
    state: str
    why: str
    score: str
    interval: str


def write_sweep_report(directory: Path, jobs: Sequence[Job]) -> Path:
    """Write the report of a sweep into its folder.

    Args:
        directory: The folder of the sweep.
        jobs: How its jobs stand.

    Raises:
        OSError: The page cannot be written.
    """
    return write_page("sweep.html.jinja", directory, **content(directory, jobs))


def content(directory: Path, jobs: Sequence[Job]) -> dict[str, Any]:
    """What the page of a sweep shows."""
    size = sum(_size(directory / job.name / HISTORY_FILE) for job in jobs)
    kept = {job.name: read_run(directory / job.name, history=size <= _MOST_BYTES) for job in jobs}
    values = swept([job.overrides for job in jobs])
    settings = dict(zip((job.name for job in jobs), values, strict=True))
    keys = list(values[0]) if values and len(values) > 1 else []
    winners = {name: one for name, run in kept.items() if (one := _winner(run)) is not None}
    runs = [Run(setting_of(settings[name]), run) for name, run in kept.items()]
    config: Mapping[str, Any] = next((run.config for run in kept.values()), {})
    started = config.get("working_directory")
    common = shared([job.overrides for job in jobs])
    notes = choice_line(list(winners.values()))
    place = place_of(directory, started if isinstance(started, str) else None)
    return {
        "name": directory.name,
        "place": place,
        "started": started,
        "state": _state(jobs),
        "counted": counted(jobs),
        "keys": [key for key in keys if key != SEED],
        "all_keys": keys,
        "comparisons": _comparisons(winners, settings, keys),
        "panels": sweep_panels(runs),
        "jobs": [_row(directory, job, settings[job.name], keys, winners) for job in jobs],
        "common": [one for one in jobs[0].overrides if one in common] if jobs else [],
        "remarks": [notes] if notes else [],
        "problems": [f"{name}: {line}" for name, run in kept.items() for line in run.problems],
        "commands": sweep_commands(place, config, jobs),
    }


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _winner(run: Kept) -> Result | None:
    return next((one for one in run.compared if one.name == EVOLVED), None)


def _state(jobs: Sequence[Job]) -> str:
    states = {job.state for job in jobs}
    if states <= {"done"}:
        return "finished"
    return "running" if "running" in states else "failed" if "failed" in states else "stopped"


def _comparisons(
    winners: Mapping[str, Result], settings: Mapping[str, Mapping[str, str]], keys: Sequence[str]
) -> list[Comparison]:
    apart = [key for key in keys if key != SEED]
    scales: dict[tuple[str, str, int], dict[tuple[str, ...], list[Result]]] = {}
    for name, one in winners.items():
        values = tuple(settings[name].get(key, "–") for key in apart)
        scale = scales.setdefault((one.head, one.split, one.items), {})
        scale.setdefault(values, []).append(one)
    return [_comparison(groups) for groups in scales.values()]


def _comparison(groups: Mapping[tuple[str, ...], Sequence[Result]]) -> Comparison:
    first = next(iter(groups.values()))[0]
    rows = sorted(groups.items(), key=lambda one: -_mean([r.score for r in one[1]]))
    found = [spread([one.score for one in runs]) for _, runs in rows]
    pictures = bars_of([(one.mean, one.low, one.high) for one in found])
    made = [
        Group(
            values,
            len(runs),
            first.measure.text(one.mean),
            _ends(first.measure, one.low, one.high),
            _ends(first.measure, min(r.score for r in runs), max(r.score for r in runs)),
            bar,
            [
                measured.measure.text(_mean([r.tasks[name].score for r in runs]))
                for name, measured in runs[0].tasks.items()
            ],
        )
        for (values, runs), one, bar in zip(rows, found, pictures, strict=True)
    ]
    tasks = [f"{name}: {one.measure.head}" for name, one in first.tasks.items()]
    return Comparison(first.head, first.counted, tasks, made)


def _mean(scores: Sequence[float]) -> float:
    return math.fsum(scores) / len(scores) if all(map(math.isfinite, scores)) else math.nan


def _ends(measure: Measure, low: float, high: float) -> str:
    return f"{measure.text(low)} – {measure.text(high)}" if low < high else ""


def _row(
    directory: Path,
    job: Job,
    own: Mapping[str, str],
    keys: Sequence[str],
    winners: Mapping[str, Result],
) -> JobRow:
    one = winners.get(job.name)
    there = (directory / job.name / REPORT_FILE).is_file()
    link = "./" + urllib.parse.quote(f"{job.name}/{REPORT_FILE}", errors="surrogateescape")
    return JobRow(
        job.name,
        link if there else "",
        [own.get(key, "–") for key in keys],
        job.state,
        job.why,
        one.measure.text(one.score) if one else "–",
        interval_text(one) if one else "",
    )
