"""How a search is going, on the terminal."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from evojax_merge.documents.terminal import printable, say
from evojax_merge.fitness.base import Measure
from evojax_merge.search.loop import Metrics

_LINE_EVERY = 5.0
"""The seconds between lines where no bar can be drawn."""


class SearchProgress:
    """A bar with generation, best and mean fitness, candidates per second and time left.

    Where the output is no terminal, a line every few seconds says the same.

    Args:
        console: Where the bar is shown.
        name: The name of the search.
        generations: The number of generations in all.
        population_size: The number of candidates in each.
        measure: What the fitness is.
        assured: Whether the best is told less two standard errors, as where generations meet
            different items.
    """

    def __init__(
        self,
        console: Console,
        name: str,
        generations: int,
        population_size: int,
        measure: Measure,
        assured: bool = False,
    ):
        self._measure = measure
        self._best = "best less 2 standard errors" if assured else "best"
        self._console = console
        self._name = name
        self._generations = generations
        self._population_size = population_size
        self._last_line = 0.0
        self._seconds: list[float] = []
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("generation {task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[told]}", markup=False),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._bar = self._progress.add_task(printable(name), total=generations, told="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def __call__(self, metrics: Metrics) -> None:
        """Show a completed generation."""
        self._seconds = [*self._seconds[-9:], metrics.seconds]
        mean_seconds = sum(self._seconds) / len(self._seconds)
        told = (
            f"{self._measure.head}: {self._best} {self._measure.text(metrics.best)}  "
            f"mean {self._measure.text(metrics.mean)}  "
            f"{self._population_size / mean_seconds:.2f} candidates/s"
        )
        if metrics.failed:
            told += f"  {metrics.failed} failed"
        self._progress.update(self._bar, completed=metrics.generation, told=printable(told))
        now = time.monotonic()
        done = metrics.generation >= self._generations
        if not self._console.is_terminal and (done or now - self._last_line > _LINE_EVERY):
            self._last_line = now
            left = (self._generations - metrics.generation) * mean_seconds
            say(
                self._console,
                f"{self._name}: generation {metrics.generation}/{self._generations}  "
                f"{told}  {left:.0f} s left",
            )
