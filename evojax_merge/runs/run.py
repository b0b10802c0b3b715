"""A whole run, which searches, chooses, compares, reports and exports.

It goes on from wherever it stopped.
"""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console

from evojax_merge import hosts
from evojax_merge.checkpoints import Model, export, lend, load_parts
from evojax_merge.checkpoints.target import recover
from evojax_merge.config.experiment import Experiment
from evojax_merge.documents.files import naming, remove_partial
from evojax_merge.documents.terminal import printable, say
from evojax_merge.measuring.heldout import Heldout
from evojax_merge.recipes.coefficients import RECIPE_FILE, Recipe
from evojax_merge.recipes.path import PathRecipe, load_recipe
from evojax_merge.recipes.weights import WeightsRecipe
from evojax_merge.report.frames import history_frame, results_frame, results_html
from evojax_merge.report.front import FOLDER, Front
from evojax_merge.report.results import (
    Result,
    choice_line,
    load_results,
    results_table,
    save_results,
)
from evojax_merge.runs.outcome import Outcome
from evojax_merge.runs.preparation import set_up
from evojax_merge.runs.problem import EVOLVED, RANDOM, Found, InexpressibleError, Problem, Winner
from evojax_merge.runs.searcher import HISTORY, Searcher, random_search
from evojax_merge.runs.setup import Setup
from evojax_merge.search.interruption import Interruption, watch
from evojax_merge.sources.evidence import FOLDER as EVIDENCE

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["EVOLVED", "RANDOM", "FrontMember", "Run", "left_by", "read_run", "run"]

RESULTS, EXPORT = "results.json", "export"


class FrontMember(NamedTuple):
    """A merge that no other one of a front beats in all tasks.

    Attributes:
        recipe: Its recipe, which `evojax_merge.merge` builds.
        scores: The mean of each task, by split and name.
    """

    recipe: Recipe | PathRecipe | WeightsRecipe
    scores: dict[str, dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run leaves behind.

    Attributes:
        directory: The run's directory, which holds ``results.json``, ``recipe.yaml``,
            ``history.jsonl``, ``checkpoints/``, ``plots/`` and ``export/``, ``evidence/`` where the
            operator asks for some, and ``images/`` where models draw.
        recipe: The recipe of the winner.
        model: The winner; None where plain weights cannot express its path, or where `read_run`
            was not asked for it.
        results: The scores of all methods, on every split that was measured.
    """

    directory: Path
    recipe: Recipe | PathRecipe | WeightsRecipe
    model: Model | None
    results: list[Result]

    @property
    def result(self) -> Result:
        """The winner's result on the split furthest from the search, test where there is one."""
        return next(result for result in self.results if result.name == EVOLVED)

    @property
    def history(self) -> "DataFrame":
        """Every candidate that was evaluated, a row each (see `evojax_merge.search.history`).

        Raises:
            PandasError: pandas is not installed.
        """
        return history_frame(self.directory / HISTORY)

    @property
    def table(self) -> "DataFrame":
        """The scores of all methods on every split, a row each.

        Raises:
            PandasError: pandas is not installed.
        """
        return results_frame(self.results)

    @property
    def front(self) -> list[FrontMember]:
        """The members of the front, where a strategy of several objectives left one.

        Raises:
            ValueError: There is no front, or it is damaged.
        """
        members = Front.load(self.directory).members
        return [
            FrontMember(load_recipe(self.directory / one.recipe), one.scores) for one in members
        ]

    @property
    def compared(self) -> list[Result]:
        """The scores of all methods on the split furthest from the search."""
        return [one for one in self.results if one.split == self.results[0].split]

    def __repr__(self) -> str:
        return printable(f"Run({self.directory}: {self.result!r}, {self.recipe!r})")

    def _repr_html_(self) -> str:
        return results_html(self.compared, str(self.directory))


def run(
    experiment: Experiment,
    directory: Path,
    console: Console | None = None,
    on_start: Callable[[], object] = lambda: None,
) -> Run:
    """Carry out an experiment, or the rest of it if the directory holds its beginning.

    Of several processes all measure, and the first one writes and speaks.

    Args:
        experiment: What is to be done.
        directory: Where everything is left; it is made if it is not there.
        console: Where progress is shown; by default, nowhere.
        on_start: A function that is called when all is checked and the weights are read, by the
            process that writes.

    Raises:
        ValueError: Something makes the experiment impossible; no weights are read by then.
        Interrupted: A signal came; everything completed is saved.
        CheckpointingError: The disk is full or broken; the last good generation is kept.
    """
    if console is None or not hosts.is_first():
        console = Console(quiet=True)
    with naming(directory), watch() as interruption:
        setup = set_up(experiment)
        if hosts.active():
            hosts.compare("files", setup.hashes(), "All hosts must read the same models and data")
        if hosts.is_first():
            directory.mkdir(parents=True, exist_ok=True)
            _tidy(directory)
        for line in setup.describe():
            say(console, line)
        interruption.agreed()
        setup.load(directory, functools.partial(say, console))
        interruption.agreed()
        if hosts.is_first():
            on_start()
        runner = _Runner(experiment, directory, console, interruption)
        done = runner.run(setup)
        hosts.barrier()  # or those that write nothing would be gone before it is written
        return done


def _tidy(directory: Path) -> None:
    """Clear away what killed processes left of files and exports that they were writing."""
    for folder in (directory, directory / FOLDER, directory / EVIDENCE):
        remove_partial(folder)
    recover(directory / EXPORT)


def left_by(directory: Path, console: Console | None = None) -> Run | None:
    """What a finished run left, read and shown without writing; None if it did not finish.

    Args:
        directory: The directory of the run.
        console: Where it is shown; by default, nowhere.
    """
    console = console or Console(quiet=True)
    if not _is_finished(directory):
        return None
    found = read_run(directory, with_model=True)
    console.print(results_table(found.compared, directory.name))
    if line := choice_line(found.compared):
        say(console, line)
    say(console, f"{directory}: is finished and cannot be written; these are its results as kept")
    return found


def read_run(directory: str | Path, *, with_model: bool = False) -> Run:
    """Read what a finished run left, without going on with anything.

    Args:
        directory: The directory of the run.
        with_model: Whether the exported winner is loaded, too.

    Raises:
        ValueError: The run is not finished, or what it left is damaged.
    """
    directory = Path(directory)
    if not _is_finished(directory):
        raise ValueError(
            f"{directory}: holds no finished run; finish it with resume, or give the directory of "
            f"one, in which {RESULTS} is"
        )
    recipe, results = load_recipe(directory / RECIPE_FILE), load_results(directory / RESULTS)
    exported = directory / EXPORT
    parts = None if isinstance(recipe, PathRecipe) else recipe.parts
    model = load_parts(exported, parts=parts) if with_model and exported.is_dir() else None
    return Run(directory, recipe, model, results)


def _is_finished(directory: Path) -> bool:
    return (directory / RESULTS).is_file() and (directory / RECIPE_FILE).is_file()


@dataclasses.dataclass(frozen=True)
class _Runner:
    """The steps of a run, on what was loaded once."""

    experiment: Experiment
    directory: Path
    console: Console
    interruption: Interruption

    def run(self, setup: Setup) -> Run:
        searcher = Searcher(self.experiment, self.directory, self.console, self.interruption)
        outcome = Outcome(self.experiment, self.directory, self.console)
        winners: dict[str, Winner] = {}
        for stage in setup.stages[:-1]:
            problem = stage.problem(winners)
            known = Heldout(problem.evaluator, self.interruption.agreed)
            found = searcher.search(stage.name, problem, stage, known)
            recipe = problem.recipe(found)
            winners[stage.name] = Winner(found, recipe, problem.build(recipe))
            del problem, known  # and what they hold on the devices
        earlier = {name: winner.found for name, winner in winners.items()}
        stage = setup.stages[-1]
        problem = stage.problem(winners)
        known = Heldout(problem.evaluator, self.interruption.agreed)
        found = searcher.search(EVOLVED, problem, stage, known)
        recipe = problem.recipe(found)
        if hosts.is_first():
            recipe.save(self.directory / RECIPE_FILE)
        front = outcome.keep_front(problem, found, known)
        outcome.keep_curve(found, known)
        others: dict[str, Found] = {}
        if self.experiment.baselines.random_search:
            beside = random_search(problem.space, stage)
            others[stage.random] = searcher.search(stage.random, problem, beside, known)
        model = self._built(problem, recipe)
        self.interruption.agreed()
        results = outcome.compare(problem, model, {**others, EVOLVED: found}, earlier)
        members = outcome.compare_front(found, front, earlier, known)
        if hosts.is_first():
            save_results([*results, *members], self.directory / RESULTS)
        outcome.show(results, members)
        outcome.keep_pictures(problem, model, {**others, EVOLVED: found})
        if hosts.is_first():
            stages = {**{one.name: one for one in setup.stages}, EVOLVED: stage}
            outcome.plot(problem, recipe, stages)
        if self.experiment.export and model is not None:
            self._export(model)
        return Run(self.directory, recipe, model, [*results, *members])

    def _export(self, model: Model) -> None:
        """Write the winner by the first process, to which the others lend their parts of it."""
        if not hosts.is_first():
            lend(model)
        else:
            export(model, self.directory / EXPORT, overwrite=True)
            say(self.console, f"exported to {self.directory / EXPORT}")

    def _built(self, problem: Problem, recipe: Any) -> Model | None:
        """The winner as a plain model; None where there can be none, so that no search is lost."""
        try:
            return problem.build(recipe)
        except InexpressibleError as error:
            warnings.warn(
                f"the winner cannot be exported: {error}. Everything else is in "
                f"{self.directory}, and `evojax-merge evaluate` runs its recipe.yaml",
                stacklevel=2,
            )
            return None
