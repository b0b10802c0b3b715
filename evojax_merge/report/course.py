"""The course of a run: its steps, how far it is, and how long it still takes.

Whoever wants to follow a run is a `Listener`. The bar on the terminal is one, and so are trackers.
"""

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evojax_merge.fitness.base import Measure
from evojax_merge.params.types import Float

if TYPE_CHECKING:
    from evojax_merge.report.results import Result

GENERATION = "generation"

_RECENT = 10
"""The generations whose time stands for that of those to come."""


@dataclasses.dataclass(frozen=True)
class Step:
    """A part of a run that has a name.

    Attributes:
        name: What it is called.
        unit: What is counted in it, e.g. ``generation`` or ``merge``; empty where nothing is.
        amount: How many of them there are.
        candidates: How many candidates, or other models, are measured in all.
        items: On how many items each of them is measured.
        seconds: A guess at what it takes beside that.
    """

    name: str
    unit: str = ""
    amount: int = 1
    candidates: int = 0
    items: int = 0
    seconds: float = 0.0

    @property
    def size(self) -> int:
        """How many results of items there are to measure."""
        return self.candidates * self.items


@dataclasses.dataclass(frozen=True)
class Generation:
    """What a callback is told of a completed generation.

    Attributes:
        search: The search that it belongs to: ``evolved``, ``random_search``, or a stage's name.
        number: Its number, from 1.
        generations: How many the search has.
        best: The best fitness of the search so far, less two standard errors where generations
            meet different items.
        top: The best fitness of this generation; nan where none was finite.
        mean: The mean fitness of this generation; nan where none was finite.
        failed: How many of its candidates had no finite score.
        evaluations: How many candidates the search has evaluated so far.
        item_evaluations: How many items it has measured for them.
        seconds: The wall time of this generation.
        measured_seconds: The time that the search has spent on measuring so far.
        measure: What the fitness is.
        directory: The directory of the run.
    """

    search: str
    number: int
    generations: int
    best: float
    top: float
    mean: float
    failed: int
    evaluations: int
    item_evaluations: int
    seconds: float
    measured_seconds: float
    measure: Measure
    directory: Path
    find_genotype: Callable[[], Float[np.ndarray, " dims"]] = dataclasses.field(repr=False)
    make_recipe: Callable[[], Any] = dataclasses.field(repr=False)

    @property
    def genotype(self) -> Float[np.ndarray, " dims"]:
        """The genotype of the best candidate so far."""
        return self.find_genotype()

    def recipe(self) -> Any:
        """The recipe of the best candidate so far, as ``merge`` and ``apply`` take it."""
        return self.make_recipe()

    def scalars(self) -> dict[str, float]:
        """The numbers to be plotted, by name."""
        names = (
            "best", "top", "mean", "failed", "evaluations", "item_evaluations", "seconds",
            "measured_seconds",
        )  # fmt: skip
        return {name: float(getattr(self, name)) for name in names}


class Listener:
    """The base of what follows a run; every method may be left as it is.

    Methods are called in the main thread of the process that writes. What they raise ends the run,
    which can be resumed.
    """

    def on_begin(self, course: "Course") -> None:
        """Called once, before the first step; the run's directory is there."""

    def on_step(self, course: "Course") -> None:
        """Called when a step begins."""

    def on_progress(self, course: "Course") -> None:
        """Called when something of a step is done, perhaps many times a second."""

    def on_generation(self, course: "Course", generation: Generation) -> None:
        """Called after each generation of each search."""

    def on_results(self, course: "Course", results: "Sequence[Result]") -> None:
        """Called once, with the results of all methods."""

    def on_end(self, course: "Course", error: BaseException | None) -> None:
        """Called at the end, with the error that ended the run, if any."""


class Told(Listener):
    """A function that is told of each generation."""

    def __init__(self, function: Callable[[Generation], object]):
        self._function = function

    def on_generation(self, course: "Course", generation: Generation) -> None:
        del course
        self._function(generation)


class Course:
    """How far a run is.

    Attributes:
        directory: The directory of the run.
        steps: All steps in order.
        number: The place of the current step, from 0; -1 before the first one.
        what: What is done in the step right now, to be read.
        generation: The newest completed generation.
    """

    def __init__(
        self,
        directory: Path,
        steps: Sequence[Step] = (),
        listeners: Sequence[Listener] = (),
        clock: Callable[[], float] = time.monotonic,
    ):
        self.directory = directory
        self.steps = tuple(steps)
        self.number = -1
        self.what = ""
        self.generation: Generation | None = None
        self._listeners = tuple(listeners)
        self._clock = clock
        self._began = clock()
        self._done = self._part = 0.0
        self._seconds: deque[float] = deque(maxlen=_RECENT)
        self._rate: float | None = None

    @contextmanager
    def followed(self) -> Iterator["Course"]:
        """A block that listeners follow from its begin to its end."""
        error: BaseException | None = None
        begun: list[Listener] = []
        try:
            for listener in self._listeners:
                begun.append(listener)
                listener.on_begin(self)
            yield self
        except BaseException as raised:
            error = raised
            raise
        finally:
            for listener in reversed(begun):
                listener.on_end(self, error)

    @property
    def step(self) -> Step:
        """The current step."""
        return self.steps[self.number]

    @property
    def done(self) -> float:
        """How many of the step's units are done, parts of one included."""
        return min(self._done + self._part, float(self.step.amount))

    @property
    def elapsed(self) -> float:
        """The seconds since the begin."""
        return self._clock() - self._began

    @property
    def left(self) -> float | None:
        """The seconds that the run still takes, by what candidates took so far; None at first."""
        if self._rate is None:
            return None
        steps = self.steps[max(self.number, 0) :]
        left = sum(step.size * self._rate + step.seconds for step in steps)
        if self.number >= 0 and self.step.amount:
            now = self.step.size * self._rate + self.step.seconds
            left -= now * self.done / self.step.amount
        return left

    def begin(self, name: str) -> None:
        """Begin the next step of a name; those before it are done, or not needed."""
        places = range(self.number + 1, len(self.steps))
        found = next((place for place in places if self.steps[place].name == name), None)
        if found is None:
            return
        self.number, self._done, self._part, self.what = found, 0.0, 0.0, ""
        self._seconds.clear()
        for listener in self._listeners:
            listener.on_step(self)

    def measured(self, candidates: float) -> None:
        """Count candidates, or parts of them, that were measured on all of a step's items."""
        if self.number < 0 or not self.step.candidates:
            return
        each = self.step.candidates / self.step.amount
        self._part += candidates / each
        if self.step.unit == GENERATION:  # which is done when it is told
            self._part = min(self._part, 1.0)
        self._tell()

    def reached(self, amount: int, what: str = "") -> None:
        """Say that so many units of a step are done, whatever was counted."""
        self._done, self._part, self.what = max(self.done, float(amount)), 0.0, what
        self._tell()

    def resumed(self, generations: int, seconds: float, size: int) -> None:
        """Count the generations of a search that an earlier process did.

        Args:
            generations: How many.
            seconds: What measuring took in them.
            size: How many results of items were measured in that time.
        """
        self._done = float(generations)
        if size and seconds > 0 and self._rate is None:
            self._rate = seconds / size

    def generated(self, generation: Generation) -> None:
        """Tell of a completed generation."""
        self.generation = generation
        self._done, self._part = float(generation.number), 0.0
        self._seconds.append(generation.seconds)
        times = list(self._seconds)
        if 1 < len(times) < _RECENT:
            times = times[1:]  # the first one of a process compiles
        if self.step.size:
            mean = sum(times) / len(times)
            beside = self.step.seconds / self.step.amount
            self._rate = max(mean - beside, 0.1 * mean) * self.step.amount / self.step.size
        for listener in self._listeners:
            listener.on_generation(self, generation)

    def compared(self, results: "Sequence[Result]") -> None:
        """Tell the results of all methods."""
        for listener in self._listeners:
            listener.on_results(self, results)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener.on_progress(self)


def listeners_of(callbacks: Sequence[Any]) -> list[Listener]:
    """Listeners as they are, and a listener for each function of a generation.

    Raises:
        ValueError: One is neither a `Listener` nor a function.
    """
    found: list[Listener] = []
    for one in callbacks:
        if not isinstance(one, Listener) and not callable(one):
            raise ValueError(
                f"callbacks: {one!r} is neither a function of a Generation nor a Listener"
            )
        found.append(one if isinstance(one, Listener) else Told(one))
    return found
