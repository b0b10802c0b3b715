"""How a run stands, as a small file that the run writes and others read while it goes on."""

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Annotated, Any

from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import read_text, write_text
from evojax_merge.documents.json_text import load_object
from evojax_merge.documents.schema import Document, number, read, whole
from evojax_merge.hosts import Interrupted
from evojax_merge.report.course import Course, Generation, Listener
from evojax_merge.report.progress import state_line

FILE = "status.json"

_EVERY = 1.0
"""The least seconds between two times that the file is written, but for steps and ends."""

_MOST = 2**20
"""The most bytes of the file that are read."""

RUNNING, FINISHED, STOPPED = "running", "finished", "stopped"


class Best(Document):
    """The best candidate of a search so far."""

    search: str
    generation: Annotated[int, whole()]
    generations: Annotated[int, whole()]
    evaluations: Annotated[int, whole()]
    shown: str


class Status(Document):
    """How a run stands.

    Attributes:
        state: ``running``, ``finished`` or ``stopped``. A run that was killed says ``running``.
        why: What stopped it.
        process: The number of the process that wrote this, on ``host``.
        written: When, in seconds since 1970.
        elapsed: The seconds that this process has been at it.
        left: The seconds that it still takes; None where that is not known yet.
        step: The place of the current step among ``steps``, from 1.
        doing: What is being done, to be read.
        best: The best of each search that has begun.
    """

    state: str
    why: str = ""
    process: Annotated[int, whole()]
    host: str
    written: Annotated[float, number()]
    elapsed: Annotated[float, number(0)]
    left: float | None = None
    step: Annotated[int, whole()]
    steps: list[str]
    doing: str
    best: list[Best] = []  # noqa: RUF012


class StatusFile(Listener):
    """Keeps the file up to date. A full disk ends nothing here; saving the search tells of it."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self._best: dict[str, dict[str, Any]] = {}

    def on_begin(self, course: Course) -> None:
        """Write that the run goes on, with the best of what earlier processes found."""
        with contextlib.suppress(ValueError, OSError):  # damaged: it is written anew
            if (before := read_status(course.directory)) is not None:
                self._best = {one.search: one.model_dump() for one in before.best}
        self._write(course, RUNNING)

    def on_step(self, course: Course) -> None:
        """Write what begins."""
        self._write(course, RUNNING)

    def on_progress(self, course: Course) -> None:
        """Write what was done, now and then."""
        if time.monotonic() - self._last >= _EVERY:
            self._write(course, RUNNING)

    def on_generation(self, course: Course, generation: Generation) -> None:
        """Write what was found, now and then."""
        self._best[generation.search] = {
            "search": generation.search,
            "generation": generation.number,
            "generations": generation.generations,
            "evaluations": generation.evaluations,
            "shown": f"{generation.measure.head} {generation.measure.text(generation.best)}",
        }
        if generation.number == 1:
            self._last = float("-inf")
        self.on_progress(course)

    def on_end(self, course: Course, error: BaseException | None) -> None:
        """Write how the run ended."""
        why = "" if error is None else f"{type(error).__name__}: {error}"
        if isinstance(error, Interrupted):
            why = str(error)  # the name of the signal
        self._write(course, FINISHED if error is None else STOPPED, why)

    def _write(self, course: Course, state: str, why: str = "") -> None:
        self._last = time.monotonic()
        left = None if state != RUNNING or course.left is None else round(course.left, 1)
        text = json.dumps(
            {
                "state": state,
                "why": why,
                "process": os.getpid(),
                "host": socket.gethostname(),
                "written": round(time.time(), 1),
                "elapsed": round(course.elapsed, 1),
                "left": left,
                "step": course.number + 1,
                "steps": [step.name for step in course.steps],
                "doing": state_line(course) if course.number >= 0 else "",
                "best": list(self._best.values()),
            },
            indent=1,
            ensure_ascii=False,
        )
        with contextlib.suppress(OSError):
            write_text(course.directory / FILE, text + "\n")


def read_status(directory: Path) -> Status | None:
    """How a run stands by its own account; None where it left none.

    Raises:
        ValueError: The file is damaged.
    """
    path = directory / FILE
    if not path.exists():
        return None
    try:
        written: Any = load_object(read_text(path, _MOST))
    except DocumentError as error:
        raise ValueError(f"{path}: {error}; remove it, and the run goes on without it") from None
    return read(Status, written, str(path))
