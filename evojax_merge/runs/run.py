"""A whole run, which searches, chooses, compares, reports and exports.

It goes on from wherever it stopped.
"""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console

from evojax_merge import hosts
from evojax_merge.cards import described
from evojax_merge.checkpoints import Model, export, lend
from evojax_merge.checkpoints.target import recover
from evojax_merge.config.experiment import Experiment
from evojax_merge.documents.files import naming, remove_partial
from evojax_merge.documents.terminal import say, show
from evojax_merge.fitness.beside import prepare
from evojax_merge.measuring.heldout import Heldout
from evojax_merge.recipes.coefficients import BEST_FILE, RECIPE_FILE
from evojax_merge.report.course import Course, Listener
from evojax_merge.report.front import FOLDER
from evojax_merge.report.going_on import Command, command, place_of
from evojax_merge.report.progress import RunProgress
from evojax_merge.report.results import (
    Result,
    choice_line,
    results_table,
    save_results,
)
from evojax_merge.report.run_files import EXPORT, RESULTS_FILE
from evojax_merge.report.standing import commands_of
from evojax_merge.report.status import StatusFile
from evojax_merge.runs.left import Run, is_finished, read_run
from evojax_merge.runs.machine import machine
from evojax_merge.runs.outcome import Outcome
from evojax_merge.runs.preparation import set_up
from evojax_merge.runs.problem import EVOLVED, RANDOM, Found, InexpressibleError, Problem, Winner
from evojax_merge.runs.provenance import recorded
from evojax_merge.runs.searcher import Searcher, random_search
from evojax_merge.runs.setup import Setup, Stage, has_random_search
from evojax_merge.runs.steps import BUILDING, EXPORTING, READING, steps_line, steps_of
from evojax_merge.search.interruption import Interruption, watch
from evojax_merge.sources.evidence import FOLDER as EVIDENCE

__all__ = ["EVOLVED", "RANDOM", "Run", "left_by", "run"]


def run(
    experiment: Experiment,
    directory: Path,
    console: Console | None = None,
    on_start: Callable[[], object] = lambda: None,
    listeners: Sequence[Listener] = (),
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> Run:
    """Carry out an experiment, or the rest of it if the directory holds its beginning.

    Of several processes all measure, and the first one writes, speaks and is listened to.

    Args:
        experiment: What is to be done.
        directory: Where everything is left; it is made if it is not there.
        console: Where progress is shown; by default, nowhere.
        on_start: A function that is called when all is checked and the weights are read, by the
            process that writes.
        listeners: Who else follows the run.
        facts: What ``provenance.json`` is to say beside versions, machine, hashes and times.

    Raises:
        ValueError: Something makes the experiment impossible; no weights are read by then.
        Interrupted: A signal came; everything completed is saved.
        CheckpointingError: The disk is full or broken; the last good generation is kept.
    """
    if console is None or not hosts.is_first():
        console = Console(quiet=True)
    with naming(directory), watch() as interruption:
        setup = set_up(experiment)
        hashes = setup.hashes()
        if hosts.active():
            hosts.compare("files", _told(hashes), "All hosts must read the same models and data")
        if hosts.is_first():
            directory.mkdir(parents=True, exist_ok=True)
            _tidy(directory)
        for line in setup.describe():
            say(console, line)
        interruption.agreed()
        steps = steps_of(setup)
        say(console, steps_line(steps, directory))
        told = {"seed": experiment.seed, **machine(), **hashes, **facts}
        following = [RunProgress(console), StatusFile(), *listeners] if hosts.is_first() else []
        with (
            recorded(directory, told),
            Course(directory, steps, following).followed() as course,
        ):
            course.begin(READING)
            setup.load(directory, functools.partial(say, console))
            for bound in setup.bound.values():
                prepare(bound)
            interruption.agreed()
            if hosts.is_first():
                on_start()
            done = _Runner(experiment, directory, console, interruption, course).run(setup)
        hosts.barrier()  # or those that write nothing would be gone before it is written
        say(console, f"everything is in {directory}; go on with")
        showing = command("show", place_of(directory, Path.cwd()))
        every = commands_of(directory, "finished")
        for text, purpose in [*every, Command(showing, "shows how the run stands")]:
            say(console, f"  {text}  ({purpose})")
        return done


def _told(hashes: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Hashes as messages show them."""
    weights = {f"the sha256 of {name}": one[:12] for name, one in hashes["weights"].items()}
    items = {
        f"the sha256 of the items of the {split} split": one[:12]
        for split, one in hashes["items"].items()
    }
    return weights | items


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
    if not is_finished(directory):
        return None
    found = read_run(directory, with_model=True)
    show(console, results_table(found.compared, directory.name))
    if line := choice_line(found.compared):
        say(console, line)
    say(console, f"{directory}: is finished and cannot be written; these are its results as kept")
    return found


@dataclasses.dataclass(frozen=True)
class _Runner:
    """The steps of a run, on what was loaded once."""

    experiment: Experiment
    directory: Path
    console: Console
    interruption: Interruption
    course: Course

    def run(self, setup: Setup) -> Run:
        """Search, one stage after another, and then compare, show, draw and export the winner."""
        course = self.course
        searcher = Searcher(
            self.experiment, self.directory, self.console, self.interruption, course
        )
        outcome = Outcome(self.experiment, self.directory, self.console, course)
        outcome.keep_searches(setup.stages)
        winners: dict[str, Winner] = {}
        for stage in setup.stages[:-1]:
            problem, known = self._problem(stage, winners)
            found = searcher.search(stage.name, problem, stage, known)
            recipe = problem.recipe(found)
            winners[stage.name] = Winner(found, recipe, problem.build(recipe))
            del problem, known  # and what they hold on the devices
        earlier = {name: winner.found for name, winner in winners.items()}
        stage = setup.stages[-1]
        problem, known = self._problem(stage, winners)
        found = searcher.search(EVOLVED, problem, stage, known)
        recipe = problem.recipe(found)
        self._keep(recipe)
        front = outcome.keep_front(problem, found, known)
        outcome.keep_curve(found, known)
        others: dict[str, Found] = {}
        if has_random_search(self.experiment, stage):
            beside = random_search(problem.space, stage)
            others[stage.random] = searcher.search(
                stage.random, problem, beside, known, beside=True
            )
        course.begin(BUILDING)
        model = self._built(problem, recipe)
        self.interruption.agreed()
        results = outcome.compare(problem, model, {**others, EVOLVED: found}, earlier)
        members = outcome.compare_front(found, front, earlier, known)
        if hosts.is_first():
            save_results([*results, *members], self.directory / RESULTS_FILE)
        course.compared([*results, *members])
        outcome.show(results, members)
        outcome.show_recipe(recipe)
        outcome.keep_pictures(problem, model, {**others, EVOLVED: found})
        if hosts.is_first():
            stages = {**{one.name: one for one in setup.stages}, EVOLVED: stage}
            outcome.plot(problem, recipe, stages, results, front is not None)
        if self.experiment.export and model is not None:
            self._export(model, recipe, results)
        outcome.report()
        built = None if model is None else dataclasses.replace(model, recipe=recipe)
        return Run(self.directory, recipe, built, [*results, *members])

    def _problem(self, stage: Stage, winners: Mapping[str, Winner]) -> tuple[Problem, Heldout]:
        """What a stage searches, which tells the course what was measured, and what it knows."""
        problem = stage.problem(winners)
        problem.evaluator.on_measured = self.course.measured
        return problem, Heldout(problem.evaluator, self.interruption.agreed)

    def _keep(self, recipe: Any) -> None:
        """Keep the winner's recipe, to which that of the best so far gives way."""
        if hosts.is_first():
            recipe.save(self.directory / RECIPE_FILE)
            (self.directory / BEST_FILE).unlink(missing_ok=True)

    def _export(self, model: Model, recipe: Any, results: Sequence[Result]) -> None:
        """Write the winner by the first process, to which the others lend their parts of it."""
        self.course.begin(EXPORTING)
        if not hosts.is_first():
            lend(model)
            return
        target = self.directory / EXPORT
        beside = described(recipe, model, target, results)
        export(model, target, overwrite=True, extra=beside)
        say(self.console, f"exported to {target}")

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
