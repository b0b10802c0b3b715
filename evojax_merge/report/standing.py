"""How a run stands, read from its directory while it goes on or afterwards; nothing is written.

Neither the models nor an accelerator are needed.
"""

import dataclasses
import math
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import RenderableType

from evojax_merge.config import read_config_file
from evojax_merge.recipes.coefficients import BEST_FILE, RECIPE_FILE, read_tree
from evojax_merge.recipes.path import load_recipe
from evojax_merge.recipes.weights import KIND as WEIGHTS
from evojax_merge.report.coefficients import recipe_tables
from evojax_merge.report.front import FILE as FRONT
from evojax_merge.report.going_on import Command, commands, place_of
from evojax_merge.report.progress import duration
from evojax_merge.report.results import choice_line, load_results, results_table
from evojax_merge.report.run_files import CONFIG_FILE, EXPORT, HISTORY_FILE, RESULTS_FILE
from evojax_merge.report.status import FINISHED, RUNNING, Status, read_status
from evojax_merge.search.history import read_history
from evojax_merge.search.lock import holder

_FRESH = 60.0
"""The seconds within which a status counts where nobody can tell who holds the directory."""


@dataclasses.dataclass(frozen=True)
class Standing:
    """How a run stands.

    Attributes:
        directory: The directory of the run.
        state: ``running``, ``finished``, ``interrupted`` or ``not begun``.
        why: What is known about that.
        status: What the run itself has written last, if anything.
    """

    directory: Path
    state: str
    why: str
    status: Status | None

    @classmethod
    def of(cls, directory: Path) -> "Standing":
        """How the run in a directory stands.

        Raises:
            ValueError: Its status file is damaged.
        """
        status, by = read_status(directory), holder(directory)
        age = math.inf if status is None else time.time() - status.written
        done = (directory / RESULTS_FILE).is_file() and (directory / RECIPE_FILE).is_file()
        if by is not None:
            return cls(directory, "running", f"by {by}", status)
        if status is None:
            if done:
                return cls(directory, "finished", "", None)
            begun = (directory / HISTORY_FILE).is_file()
            return cls(directory, "interrupted" if begun else "not begun", "", None)
        if status.state == FINISHED:
            return cls(directory, "finished", f"after {duration(status.elapsed)}", status)
        if status.state == RUNNING and age < _FRESH and not _here(status):
            who = f"by process {status.process} on {status.host}, as it says itself"
            return cls(directory, "running", who, status)
        ended = f"process {status.process} on {status.host} has ended"
        why = f"stopped by {status.why}" if status.why else ended
        return cls(directory, "interrupted", f"{why}, {duration(max(age, 0.0))} ago", status)

    def lines(self) -> Iterator[str]:
        """The state, what is done, how long it takes, and the best so far."""
        yield f"{self.directory}: {self.state}{f' ({self.why})' if self.why else ''}"
        status = self.status
        if status is not None and self.state != "finished" and status.step:
            left = "" if status.left is None else f", about {duration(status.left)} left"
            if self.state == "interrupted":
                left = ""
            yield (
                f"step {status.step} of {len(status.steps)}: {status.doing}; "
                f"{duration(status.elapsed)} so far{left}"
            )
        if status is not None and status.best:
            for one in status.best:
                yield (
                    f"{one.search}: best so far {one.shown}, after generation {one.generation} of "
                    f"{one.generations} and {one.evaluations} candidates"
                )
        else:
            yield from self._best_of_history()

    def tables(self) -> Iterator[RenderableType]:
        """The results, as far as there are some, and the coefficients of the best merge."""
        if (self.directory / RESULTS_FILE).is_file():
            results = load_results(self.directory / RESULTS_FILE)
            final = [one for one in results if one.split == results[0].split]
            yield results_table(final, self.directory.name)
        if (recipe := self.recipe) is not None:
            name = "evolved" if recipe.name == RECIPE_FILE else "the best so far"
            if read_tree(recipe).get("kind") != WEIGHTS:  # which would be read with its weights
                yield from recipe_tables(load_recipe(recipe), name)

    def remarks(self) -> Iterator[str]:
        """What a reader of the results must know."""
        if (self.directory / RESULTS_FILE).is_file():
            results = load_results(self.directory / RESULTS_FILE)
            line = choice_line([one for one in results if one.split == results[0].split])
            if line:
                yield line

    @property
    def recipe(self) -> Path | None:
        """The file of the winner, or else of the best so far; None before there is one."""
        files = (self.directory / RECIPE_FILE, self.directory / BEST_FILE)
        return next((file for file in files if file.is_file()), None)

    def commands(self) -> list[Command]:
        """The commands to go on with, and what each of them does."""
        return commands_of(self.directory, self.state, self.recipe)

    def _best_of_history(self) -> Iterator[str]:
        best: dict[str, tuple[float, int, int]] = {}
        for row in read_history(self.directory / HISTORY_FILE):
            fitness = -math.inf if row["fitness"] is None else row["fitness"]
            highest, _, count = best.get(row["search"], (-math.inf, 0, 0))
            best[row["search"]] = (max(highest, fitness), row["generation"] + 1, count + 1)
        for search, (fitness, generation, count) in best.items():
            yield (
                f"{search}: best so far {fitness:.4g}, after generation {generation} and {count} "
                "candidates"
            )


def commands_of(directory: Path, state: str, recipe: Path | None = None) -> list[Command]:
    """The commands to go on with from a run, called from where the user stands.

    Args:
        directory: The directory of the run.
        state: How it stands, as `Standing.state`.
        recipe: The recipe of the winner, or of the best so far, if there is one.
    """
    here, file = Path.cwd(), directory / CONFIG_FILE
    return commands(
        place_of(directory, here),
        read_config_file(file) if file.is_file() else {},
        state=state,
        best=place_of(recipe, here) if recipe is not None and state != "finished" else "",
        has_front=(directory / FRONT).is_file(),
        is_exported=(directory / EXPORT).is_dir(),
    )


def _here(status: Status) -> bool:
    """Whether the process that wrote a status would be on this machine, where its lock tells."""
    return status.host == socket.gethostname()
