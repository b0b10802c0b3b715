"""How a run is going, on the terminal."""

import time
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from evojax_merge.documents.log import note
from evojax_merge.documents.terminal import printable, say
from evojax_merge.report.course import GENERATION, Course, Generation, Listener

_LINE_EVERY = 5.0
"""The seconds between lines where no bar can be drawn."""


class _Bar(Progress):
    """A bar with a line below it."""

    below = Text()

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self.below.plain:
            yield self.below


class RunProgress(Listener):
    """A bar for the whole of a run, with the time left, and below it what is being done.

    Where the output is no terminal, a line every few seconds says the same.

    Args:
        console: Where it is shown.
    """

    def __init__(self, console: Console):
        self._console = console
        self._told = ""
        self._last_line = time.monotonic()
        self._bar = _Bar(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[left]}", markup=False),
            console=console,
            disable=not (console.is_terminal or console.is_jupyter) or console.quiet,
            transient=True,
        )
        self._task = self._bar.add_task("", total=1.0, left="")

    def on_begin(self, course: Course) -> None:
        """Show the bar."""
        self._show(course)
        self._bar.start()

    def on_step(self, course: Course) -> None:
        """Show what begins."""
        self._told = ""
        self._show(course)
        self._say(course)

    def on_progress(self, course: Course) -> None:
        """Show what was done of a step."""
        self._show(course)
        self._say(course)

    def on_generation(self, course: Course, generation: Generation) -> None:
        """Show a completed generation."""
        measure, step = generation.measure, course.step
        each = step.candidates / step.amount
        # Where generations meet different items, the best is what can be said for sure.
        sure = "at least " if generation.top > generation.best else ""
        self._told = (
            f"{measure.head}: best {sure}{measure.text(generation.best)}  "
            f"mean {measure.text(generation.mean)}  "
            f"{each / max(generation.seconds, 1e-9):.3g} candidates/s"
        )
        if generation.failed:
            self._told += f"  {generation.failed} failed"
        self._show(course)
        self._say(course, generation.number in (1, generation.generations))

    def on_end(self, course: Course, error: BaseException | None) -> None:
        """Take the bar away; what was said above it stays."""
        self._bar.stop()

    def _show(self, course: Course) -> None:
        if course.number < 0:
            return
        left, elapsed = course.left, course.elapsed
        share = 0.0 if left is None else elapsed / max(elapsed + left, 1e-9)
        self._bar.below = Text(f"  {printable(state_line(course, self._told))}")
        self._bar.update(
            self._task,
            completed=share,
            description=f"step {course.number + 1} of {len(course.steps)}",
            left="" if left is None else f"about {duration(left)} left",
        )

    def _say(self, course: Course, anyway: bool = False) -> None:
        """A line for the log, and where no bar is drawn; anyway, or if the last one is old."""
        now = time.monotonic()
        if not anyway and now - self._last_line < _LINE_EVERY:
            return
        self._last_line = now
        line = state_line(course, self._told)
        if course.left is not None:
            line += f"  about {duration(course.left)} left"
        if self._bar.disable:
            say(self._console, line)
        else:
            note(printable(line))


def state_line(course: Course, told: str = "") -> str:
    """What a run is doing, e.g. ``evolved: generation 5/38  candidate 3/8``."""
    step = course.step
    line = f"{step.name}"
    if step.unit == GENERATION:
        whole = int(course.done)
        each = step.candidates // max(step.amount, 1)
        candidate = int((course.done - whole) * each)
        line += f": {step.unit} {whole}/{step.amount}"
        if candidate:
            line += f"  candidate {candidate}/{each} of the next"
    elif step.unit:
        line += f": {step.unit} {min(int(course.done) + 1, step.amount)}/{step.amount}"
        if step.items:
            line += f" on {step.items} items"
    if course.what:
        line += f"  {course.what}"
    return f"{line}  {told}" if told else line


def duration(seconds: float) -> str:
    """A time to read, as ``45 s``, ``12 min`` or ``3 h 20 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 100:
        return f"{hours} h {minutes} min"
    return f"{hours / 24:.1f} days"
