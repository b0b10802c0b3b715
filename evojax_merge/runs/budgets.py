"""What a run has spent so far, and what it leaves aside when it goes on with another budget."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from evojax_merge.config.continuation import Budget
from evojax_merge.documents.files import naming
from evojax_merge.report.curves import FILE as CURVE
from evojax_merge.report.jobs import FINISHED_FILE
from evojax_merge.report.run_files import HISTORY_FILE, RESULTS_FILE
from evojax_merge.runs.problem import RANDOM, RANDOM_PATHS
from evojax_merge.search.history import read_history, spent_on


def spent(directory: Path) -> Budget:
    """What the searches of a run have spent, but for the random search beside them."""
    rows = read_history(directory / HISTORY_FILE)
    own = spent_on([row for row in rows if row["search"] not in (RANDOM, RANDOM_PATHS)])
    return Budget(own.evaluations, own.item_evaluations)


def set_aside(directory: Path, settings: Sequence[str]) -> None:
    """Keep a run's settings and results until now under names of their own.

    Nothing then says that the run is finished, so that whatever ends it now, it can be resumed.

    Args:
        directory: The run's directory.
        settings: The names of the files of its settings, which stay, as ``config.yaml``; copies are
            called ``config.1.yaml``, or the next number that is free.
    """
    if not (directory / HISTORY_FILE).exists():
        return  # nothing was done by them
    every = (*settings, RESULTS_FILE)
    number = next(
        number
        for number in itertools.count(1)
        if not any(_numbered(directory / name, number).exists() for name in every)
    )
    for name in settings:
        file = directory / name
        if file.is_file():
            with naming(file):
                _numbered(file, number).write_bytes(file.read_bytes())
    results = directory / RESULTS_FILE
    with naming(results):
        if results.is_file():
            results.rename(_numbered(results, number))
        for name in (CURVE, FINISHED_FILE):
            (directory / name).unlink(missing_ok=True)


def _numbered(file: Path, number: int) -> Path:
    return file.with_name(f"{file.stem}.{number}{file.suffix}")
