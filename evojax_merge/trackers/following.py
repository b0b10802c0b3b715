"""What has a tracker follow a run, and survives whatever the tracker does."""

import contextlib
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import read_text, write_text
from evojax_merge.documents.json_text import load_object
from evojax_merge.documents.schema import Document, length, read
from evojax_merge.recipes.coefficients import RECIPE_FILE
from evojax_merge.report.course import Course, Generation, Listener
from evojax_merge.report.results import Result
from evojax_merge.report.run_files import (
    CONFIG_FILE,
    LOG_FILE,
    PLOTS,
    REPORT_FILE,
    RESULTS_FILE,
    SWEEP_FILE,
)
from evojax_merge.trackers.base import Tracked, Tracker, TrackerWarning

FILE = "tracker.json"
"""The file in a run's directory that says under which name a tracker knows the run."""

_FILES = (CONFIG_FILE, RECIPE_FILE, RESULTS_FILE, REPORT_FILE, LOG_FILE)
_LONGEST = 300
"""How many characters of a tracker's error are worth repeating."""


class _Known(Document):
    """What `FILE` holds."""

    tracker: Annotated[str, length(1)]
    identity: Annotated[str, length(1)]


class Tracking(Listener):
    """A tracker that follows a run.

    Args:
        tracker: The tracker.
        experiment: The name of the experiment.
        settings: The configuration, by dotted key.
    """

    def __init__(self, tracker: Tracker, experiment: str, settings: Mapping[str, Any]):
        self._tracker, self._experiment, self._settings = tracker, experiment, settings
        self._working = True

    def on_begin(self, course: Course) -> None:
        """Begin, under the name that the run has from earlier."""
        self._safely(lambda: self._begin(course.directory))

    def on_generation(self, course: Course, generation: Generation) -> None:
        """Keep the numbers of a generation."""
        scalars = {k: v for k, v in generation.scalars().items() if math.isfinite(v)}
        self._safely(lambda: self._tracker.log(generation.search, generation.number, scalars))

    def on_results(self, course: Course, results: Sequence[Result]) -> None:
        """Keep the final scores."""
        scores = {
            f"{one.split}/{one.name}": one.score for one in results if math.isfinite(one.score)
        }
        self._safely(lambda: self._tracker.summarize(scores))

    def on_end(self, course: Course, error: BaseException | None) -> None:
        """Keep the files of a run that is done, and end."""
        if error is None:
            places = (course.directory / name for name in _FILES)
            files = [path for path in places if path.is_file()]
            pictures = sorted((course.directory / PLOTS).glob("*.png"))
            self._safely(lambda: self._tracker.keep(files, pictures))
        self._safely(lambda: self._tracker.end(error is not None))

    def _begin(self, directory: Path) -> None:
        name, file = self._tracker.extra, directory / FILE
        sweep = directory.parent
        group = sweep.name if (sweep / SWEEP_FILE).is_file() else None
        run = Tracked(directory.name, self._experiment, directory, self._settings, group)
        identity = self._tracker.begin(run, _identity(file, name))
        text = json.dumps({"tracker": name, "identity": identity}) + "\n"
        with contextlib.suppress(OSError):  # of a full disk, which saving the search tells of
            write_text(file, text)

    def _safely(self, call: Callable[[], object]) -> None:
        """Call the tracker, unless it has failed before; warn if it fails now."""
        if not self._working:
            return
        try:
            call()
        except Exception as error:
            self._working = False
            said = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
            warnings.warn(
                f"tracker={self._tracker.extra} failed ({said}); the run goes on without it, and "
                "history.jsonl has all numbers",
                TrackerWarning,
                stacklevel=2,
            )


def _identity(file: Path, tracker: str) -> str | None:
    """What a tracker calls the run from earlier; None where it does not know it."""
    if not file.is_file():
        return None
    try:
        known = read(_Known, load_object(read_text(file, 2**16)), str(file))
    except (DocumentError, ValueError, OSError):  # damaged: then it begins anew
        return None
    return known.identity if known.tracker == tracker else None
