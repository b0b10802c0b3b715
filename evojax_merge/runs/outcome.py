"""What a run tells of its searches at their end: curve, front, results and plots."""

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from evojax_merge import hosts
from evojax_merge.checkpoints import Model
from evojax_merge.config.experiment import Experiment
from evojax_merge.documents.terminal import say, show
from evojax_merge.fitness.drawing.showing import Drawn
from evojax_merge.fitness.several import SeveralTasks
from evojax_merge.measuring.heldout import Heldout
from evojax_merge.params.types import Float
from evojax_merge.recipes.coefficients import RECIPE_FILE, Recipe
from evojax_merge.recipes.path import PathRecipe
from evojax_merge.recipes.weights import WeightsRecipe
from evojax_merge.report.coefficients import recipe_tables
from evojax_merge.report.course import Course
from evojax_merge.report.curves import FILE as CURVE
from evojax_merge.report.curves import incumbents, save_curve
from evojax_merge.report.examples import FILE as EXAMPLES
from evojax_merge.report.examples import Gathering
from evojax_merge.report.front import FOLDER, Front, Member, plot_front
from evojax_merge.report.hypervolume import best_members
from evojax_merge.report.items import FILE as ITEMS
from evojax_merge.report.items import save_items
from evojax_merge.report.pictures import folder_of, plot_gallery, save_pictures
from evojax_merge.report.plots import plot_fitness
from evojax_merge.report.remarks import no_better
from evojax_merge.report.results import (
    Result,
    choice_line,
    flaw_line,
    is_chosen_by,
    noise_line,
    results_table,
)
from evojax_merge.report.run_files import HISTORY_FILE, PLOTS, REPORT_FILE
from evojax_merge.report.searches import FILE as SEARCHES
from evojax_merge.report.searches import Search, Searches
from evojax_merge.runs import steps
from evojax_merge.runs.problem import (
    EVOLVED,
    EXPORTED,
    RANDOM,
    RANDOM_PATHS,
    Found,
    Problem,
)
from evojax_merge.runs.searcher import measure_of, random_search
from evojax_merge.runs.setup import Stage, has_random_search
from evojax_merge.search.history import HistoryWarning, read_history

IMAGES = "images"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Measures, keeps and shows what the searches of a run found.

    Of several processes all measure, and the first one keeps and shows.

    Attributes:
        experiment: What was done.
        directory: The run's directory.
        console: Where results are shown.
        course: What is told how far this is.
        items: The results of every method on the items of the split that methods are compared on,
            once they are compared.
    """

    experiment: Experiment
    directory: Path
    console: Console
    course: Course
    items: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def keep_curve(self, found: Found, known: Heldout) -> None:
        """Keep how the search's best candidate got better on items that the search never saw."""
        most = self.experiment.budget.curve
        if not most:
            return
        self.course.begin(steps.CURVE)
        hosts.barrier()  # what one has written is read by all
        points = incumbents(read_history(self.directory / HISTORY_FILE), EVOLVED, most)
        if not points:
            return
        if points[-1].evaluations != found.evaluations:
            warnings.warn(
                f"{CURVE} is left out: the history lacks candidates, and what the best of each "
                "generation had cost is not known",
                HistoryWarning,
                stacklevel=2,
            )
            return
        split = known.splits[0]
        genotypes = np.array([point.genotype for point in points], np.float32)
        heldout = [float(score) for score in known.fitness(genotypes, split)]
        if hosts.is_first():
            save_curve(points, heldout, self.experiment.task.on(split), self.directory / CURVE)

    def keep_front(
        self, problem: Problem, found: Found, known: Heldout
    ) -> Float[np.ndarray, "members dims"] | None:
        """Keep a recipe for every member of the front that a strategy of several objectives found.

        Members are chosen on the validation split, or else on the search split. Test items choose
        nothing.
        """
        task = self.experiment.task
        if found.front is None or not len(found.front) or not isinstance(task, SeveralTasks):
            return None
        self.course.begin(steps.FRONT)
        splits = [s for s in ("validation", "search", "test") if s in known.splits]
        tasks = tuple(task.tasks)
        measured = {split: known.objectives(found.front, split) for split in splits}
        kept = best_members(measured[splits[0]])
        if not kept.any():
            return None
        recipes = [
            problem.recipe(dataclasses.replace(found, genotype=found.front[place]))
            for place in np.flatnonzero(kept)
        ]
        if not hosts.is_first():
            return found.front[kept]
        folder = self.directory / FOLDER
        folder.mkdir(exist_ok=True)
        members = []
        for index, (place, recipe) in enumerate(zip(np.flatnonzero(kept), recipes, strict=True)):
            recipe.save(folder / f"{index}.yaml")
            scores: dict[str, dict[str, float]] = {
                split: dict(zip(tasks, map(float, means[place]), strict=True))
                for split, means in measured.items()
            }
            members.append(Member(f"{FOLDER}/{index}.yaml", scores))
        measures = tuple(one.measure for one in task.tasks.values())
        for file in folder.glob("[0-9]*.yaml"):  # of a larger front, before the budget grew
            if file.stem.isdigit() and int(file.stem) >= len(members):
                file.unlink()
        front = Front(splits[0], tasks, tuple(members), measures)
        front.save(self.directory)
        say(
            self.console,
            f"a front of {len(members)} merges: evojax-merge apply {self.directory} --select knee "
            "--out DIR, or an index of front.json, or weights",
        )
        return found.front[kept]

    def compare(
        self,
        problem: Problem,
        model: Model | None,
        found: Mapping[str, Found],
        earlier: Mapping[str, Found],
    ) -> list[Result]:
        """The results of every method on the best-held-out split, and of the winner on others.

        The result of every item is kept, too.
        """
        splits = [s for s in ("test", "validation", "search") if s in problem.evaluator.tasks]
        costs = {name: _cost(one) for name, one in earlier.items()}
        costs |= {name: _cost(one, *earlier.values()) for name, one in found.items()}

        def result(name: str, split: str, items: np.ndarray, flawed: int | None = None) -> Result:
            searched = name in costs or name == EXPORTED
            task = self.experiment.task.on(split)
            cost = costs.get(name, (0, 0.0, 0))
            return Result.of(
                name,
                task,
                items,
                *cost,
                chosen_on_these_items=searched and is_chosen_by(task),
                flawed=flawed,
            )

        gathering = Gathering(self.experiment.task.on(splits[0]), EVOLVED)
        results: list[Result] = []
        items: dict[str, dict[str, np.ndarray]] = {splits[0]: self.items}
        self.course.begin(steps.COMPARING)
        for one in problem.compare(model, found, splits[0]):
            results.append(result(one.name, splits[0], one.items, one.flawed))
            self.items[one.name] = one.items
            if hosts.is_first():
                with self._beside(EXAMPLES):
                    gathering.add(one.name, one.items, one.details)
            self.course.reached(len(results), f"({one.name} is done)")
        if hosts.is_first():
            with self._beside(EXAMPLES):
                gathering.save(self.directory)
        self.course.begin(steps.SPLITS)
        for split in splits[1:]:
            own = problem.measure(model, found[EVOLVED], split)
            results.append(result(EVOLVED, split, own))
            items[split] = {EVOLVED: own}
        if hosts.is_first():
            save_items(items, self.directory / ITEMS)
        return results

    def compare_front(
        self,
        found: Found,
        front: Float[np.ndarray, "members dims"] | None,
        earlier: Mapping[str, Found],
        known: Heldout,
    ) -> list[Result]:
        """The results of the front's members on the split that methods are compared on."""
        if front is None:
            return []
        self.course.begin(steps.MEMBERS)
        task = self.experiment.task.on(known.splits[0])
        cost, chosen = _cost(found, *earlier.values()), is_chosen_by(task)
        return [
            Result.of(f"front {index}", task, items, *cost, chosen_on_these_items=chosen)
            for index, items in enumerate(known.items(front, task.current_split))
        ]

    def keep_pictures(
        self, problem: Problem, model: Model | None, found: Mapping[str, Found]
    ) -> None:
        """Keep what the methods draw of some prompts from the same noise, side by side too."""
        self.course.begin(steps.PICTURES)
        methods: dict[str, list[Drawn]] = {}
        for name, pictures in problem.drawn(model, found):
            methods[name] = pictures
            self.course.reached(len(methods), f"({name} is done)")
            if not hosts.is_first():
                continue
            notes = {"model": name}
            if name == EVOLVED:
                notes["recipe"] = (self.directory / RECIPE_FILE).read_text(encoding="utf-8")
            save_pictures(pictures, self.directory / IMAGES / folder_of(name), notes)
        if methods and hosts.is_first():
            plots = self.directory / PLOTS
            plots.mkdir(exist_ok=True)
            plot_gallery(methods, plots / "gallery.png")
            say(self.console, f"pictures: {self.directory / IMAGES}, {plots / 'gallery.png'}")

    def plot(
        self,
        problem: Problem,
        recipe: Any,
        stages: Mapping[str, Stage],
        results: Sequence[Result],
        front: bool,
    ) -> None:
        """Draw what the searches did and what they found.

        Args:
            problem: What was searched last.
            recipe: The recipe of the winner.
            stages: The searches by name.
            results: The results of all methods.
            front: Whether a front was kept.
        """
        self.course.begin(steps.PLOTS)
        plots = self.directory / PLOTS
        plots.mkdir(exist_ok=True)
        history = self.directory / HISTORY_FILE
        own = {
            name: measure_of(stage, self.experiment.task)
            for name, stage in stages.items()
            if stage.strategy.scores_itself
        }
        task, final = self.experiment.task, results[0].split
        others = [one for one in results if one.split == final and one.name != EXPORTED]
        plot_fitness(read_history(history), plots / "fitness.png", task, own, others)
        if front:
            kept = Front.load(self.directory)
            plot_front(kept, list(read_history(history)), EVOLVED, plots / "front.png", others)
        problem.plot(recipe, history, plots)

    def keep_searches(self, stages: Sequence[Stage]) -> None:
        """Keep what the searches are, for reports."""
        if not hosts.is_first():
            return
        task, last = self.experiment.task, stages[-1]
        every = {stage.name: stage for stage in stages[:-1]} | {EVOLVED: last}
        if has_random_search(self.experiment, last):
            every[last.random] = random_search(last.space, last)
        with self._beside(SEARCHES):
            Searches.of(
                task,
                {
                    name: Search(
                        stage.space.describe(),
                        int(stage.space.dims),
                        stage.strategy.title,
                        int(stage.strategy.population_size),
                        stage.candidates,
                        measure_of(stage, task),
                    )
                    for name, stage in every.items()
                },
            ).save(self.directory)

    def report(self) -> None:
        """Write the report of the run."""
        self.course.begin(steps.REPORT)
        if not hosts.is_first():
            return
        with self._beside(REPORT_FILE):
            from evojax_merge.report.html.run import write_report  # and with it jinja2

            write_report(self.directory, finished=True)
            say(self.console, f"report: {self.directory / REPORT_FILE}")

    @contextlib.contextmanager
    def _beside(self, file: str) -> Iterator[None]:
        """Do what only helps to read what was found, so that no failure of it ends the run.

        Tasks of strangers, and what they answer, can fail in any way.
        """
        try:
            yield
        except Exception as error:
            warnings.warn(
                f"{self.directory / file}: is not written ({type(error).__name__}: {error}); the "
                "results are not touched by that",
                RuntimeWarning,
                stacklevel=3,
            )

    def show(self, results: list[Result], front: list[Result]) -> None:
        """Print the tables of results."""
        final = results[0].split
        compared = [result for result in results if result.split == final]
        for name, shown in ((self.experiment.task.name, compared), ("front", front)):
            if shown:
                show(self.console, results_table(shown, name))
            for line in (choice_line(shown), flaw_line(shown)):
                if line:
                    say(self.console, line)
        line = noise_line([result for result in results if result.name == EVOLVED])
        say(self.console, line)
        others = [result for result in compared if result.name != EXPORTED]
        for line in no_better(others, self.items, EVOLVED, (RANDOM, RANDOM_PATHS)):
            say(self.console, line, label="note:")

    def show_recipe(self, recipe: Recipe | PathRecipe | WeightsRecipe) -> None:
        """Print the coefficients or the path of the winner."""
        for table in recipe_tables(recipe):
            show(self.console, table)


def _cost(found: Found, *earlier: Found) -> tuple[int, float, int]:
    """The evaluations, seconds and measured items of a search and of those that it builds on."""
    every = (*earlier, found)
    return (
        sum(one.evaluations for one in every),
        sum(one.seconds for one in every),
        sum(one.item_evaluations for one in every),
    )
