"""A whole run: search, choose, compare, report, export; and again from wherever it stopped."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from evojax_merge.checkpoints import Model, export, load
from evojax_merge.checkpoints.exporter import recover
from evojax_merge.config.experiment import Experiment
from evojax_merge.documents.files import naming, remove_partial
from evojax_merge.documents.terminal import say
from evojax_merge.fitness.base import Measure
from evojax_merge.fitness.several import SeveralTasks
from evojax_merge.measuring.heldout import Heldout
from evojax_merge.models.decoder.absorb import AbsorptionError
from evojax_merge.params.types import Float
from evojax_merge.recipes.coefficients import RECIPE_FILE, Recipe
from evojax_merge.recipes.path import PathRecipe, load_recipe
from evojax_merge.recipes.weights import WeightsRecipe
from evojax_merge.report.curves import FILE as CURVE
from evojax_merge.report.curves import incumbents, save_curve
from evojax_merge.report.front import FOLDER, Front, Member, plot_front
from evojax_merge.report.hypervolume import best_members
from evojax_merge.report.plots import plot_fitness
from evojax_merge.report.progress import SearchProgress
from evojax_merge.report.results import (
    Result,
    choice_line,
    is_chosen_by,
    load_results,
    noise_line,
    results_table,
    save_results,
)
from evojax_merge.runs.pairing import pair
from evojax_merge.runs.problems import Found, Problem, WeightsProblem
from evojax_merge.runs.problems.base import EVOLVED, EXPORTED, RANDOM
from evojax_merge.runs.setups import Setup, Stage, set_up
from evojax_merge.search.checkpointer import Checkpointer
from evojax_merge.search.history import History, HistoryWarning, read_history
from evojax_merge.search.interruption import Interruption, watch
from evojax_merge.search.loop import search
from evojax_merge.search.state import EvolutionState
from evojax_merge.sources.evidence import FOLDER as EVIDENCE
from evojax_merge.strategies import EvosaxStrategy, Setting, Strategy

__all__ = ["EVOLVED", "RANDOM", "Run", "left_by", "run"]

RESULTS, EXPORT = "results.json", "export"


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run leaves behind.

    Attributes:
        directory: Holds ``results.json``, ``recipe.yaml``, ``history.jsonl``, ``checkpoints/``,
            ``plots/`` and ``export/``; ``evidence/`` where the operator asks for some.
        recipe: Of the winner.
        model: The winner; None where plain weights cannot express its path.
        results: Scores of all methods, on every split that was measured.
    """

    directory: Path
    recipe: Recipe | PathRecipe | WeightsRecipe
    model: Model | None
    results: list[Result]

    @property
    def result(self) -> Result:
        """The winner's, on the split that was furthest from the search: test where there is one."""
        return next(result for result in self.results if result.name == EVOLVED)


def run(
    experiment: Experiment,
    directory: Path,
    console: Console | None = None,
    on_start: Callable[[], object] = lambda: None,
) -> Run:
    """Carry out an experiment, or the rest of it if the directory holds its beginning.

    Args:
        experiment: What to do.
        directory: Where to leave everything; made if it is not there.
        console: Where to show progress; by default nowhere.
        on_start: Called when everything is checked and the weights are read.

    Raises:
        ValueError: Anything that makes the experiment impossible, before any weights are read.
        Interrupted: A signal came; everything completed is saved.
        CheckpointingError: The disk is full or broken; the last good generation is kept.
    """
    console = console or Console(quiet=True)
    with naming(directory), watch() as interruption:
        setup = set_up(experiment)
        directory.mkdir(parents=True, exist_ok=True)
        _tidy(directory)
        for line in setup.describe():
            say(console, line)
        interruption.check()
        setup.load(directory, functools.partial(say, console))
        interruption.check()
        on_start()
        runner = _Runner(experiment, directory, console, interruption)
        return runner.run(setup)


def _tidy(directory: Path) -> None:
    """Clear away what killed processes left of files and exports that they were writing."""
    for folder in (directory, directory / FOLDER, directory / EVIDENCE):
        remove_partial(folder)
    recover(directory / EXPORT)


def left_by(directory: Path, console: Console | None = None) -> Run | None:
    """What a finished run left, read and shown without writing anything; None if it did not finish.

    Args:
        directory: Of the run.
        console: Where to show it; by default nowhere.
    """
    console = console or Console(quiet=True)
    if not (directory / RESULTS).is_file() or not (directory / RECIPE_FILE).is_file():
        return None
    recipe, results = load_recipe(directory / RECIPE_FILE), load_results(directory / RESULTS)
    exported = directory / EXPORT
    model = load(exported) if exported.is_dir() else None
    final = results[0].split
    shown = [result for result in results if result.split == final]
    console.print(results_table(shown, directory.name))
    if line := choice_line(shown):
        say(console, line)
    say(console, f"{directory}: is finished and cannot be written; these are its results as kept")
    return Run(directory, recipe, model, results)


@dataclasses.dataclass(frozen=True)
class _Runner:
    """The steps of a run, on what was loaded once."""

    experiment: Experiment
    directory: Path
    console: Console
    interruption: Interruption

    def run(self, setup: Setup) -> Run:
        earlier: dict[str, Found] = {}
        for stage in setup.stages[:-1]:  # of a hybrid: its winner becomes part of the next
            problem = stage.problem()
            known = Heldout(problem.evaluator, self.interruption.check)
            found = self._search(stage.name, problem, stage, known)
            earlier[stage.name] = found
            stage.done(found)
            del problem, known  # and what they hold on the devices
        stage = setup.stages[-1]
        problem = stage.problem()
        known = Heldout(problem.evaluator, self.interruption.check)
        found = self._search(EVOLVED, problem, stage, known)
        recipe = problem.recipe(found)
        recipe.save(self.directory / RECIPE_FILE)
        front = self._keep_front(problem, found, known)
        self._keep_curve(found, known)
        others: dict[str, Found] = {}
        if self.experiment.baselines.random_search:
            beside = _random_search(problem.space, stage)
            others[stage.random] = self._search(stage.random, problem, beside, known)
        model = self._built(problem, recipe)
        self.interruption.check()
        results = self._compare(problem, model, {**others, EVOLVED: found}, earlier)
        members = self._compare_front(found, front, earlier, known)
        save_results([*results, *members], self.directory / RESULTS)
        self._report(results, members)
        self._plot(problem, recipe, {**{one.name: one for one in setup.stages}, EVOLVED: stage})
        if self.experiment.export and model is not None:
            export(model, self.directory / EXPORT, overwrite=True)
            say(self.console, f"exported to {self.directory / EXPORT}")
        return Run(self.directory, recipe, model, [*results, *members])

    def _built(self, problem: Problem, recipe: Any) -> Model | None:
        """The winner as a plain model; a search is not lost where there can be none."""
        try:
            return problem.build(recipe)
        except AbsorptionError as error:
            warnings.warn(
                f"the winner cannot be exported: {error}. Everything else is in "
                f"{self.directory}, and `evojax-merge evaluate` runs its recipe.yaml",
                stacklevel=2,
            )
            return None

    def _search(self, name: str, problem: Problem, stage: Stage, known: Heldout) -> Found:
        generations = -(-stage.evaluations // stage.strategy.population_size)
        strategy, score_fn, resume = pair(
            problem, stage.strategy, stage.savers, self.interruption.check
        )
        # The weights of every candidate would take more than all else that a run leaves.
        written = not isinstance(problem, WeightsProblem)
        history = History(self.directory / "history.jsonl", genotypes=written)
        progress = SearchProgress(
            self.console,
            name,
            generations,
            strategy.population_size,
            self._measure_of(stage),
            assured=stage.savers.minibatch is not None,
        )
        with self.interruption.deferred(), progress as on_generation:
            state = search(
                name,
                strategy,
                score_fn,
                key=jax.random.key(self.experiment.seed),
                generations=generations,
                archive_size=self.experiment.budget.finalists,
                checkpointer=Checkpointer(self.directory / "checkpoints" / name),
                history=history,
                item_evaluations=self.experiment.budget.item_evaluations,
                on_resume=resume,
                on_generation=on_generation,
                interrupted=self.interruption.check,
            )
        front = None
        if (kept := strategy.front(state.strategy)) is not None:
            members, objectives = (np.asarray(part) for part in kept)
            known.add(members, "search", objectives)
            front = members[best_members(objectives)]
        winner = self._choose(known, state, strategy, bool(stage.savers.partial), front)
        spent = history.spent
        return Found(winner, spent.evaluations, spent.seconds, spent.item_evaluations, front)

    def _measure_of(self, stage: Stage) -> Measure:
        """What a search goes by: the task's fitness, unless it scores candidates itself."""
        if (own := stage.strategy.own_measure) is not None:
            return Measure(*own)
        task = self.experiment.task
        named = isinstance(task, SeveralTasks)
        return task.measure._replace(name="fitness") if named else task.measure

    def _keep_curve(self, found: Found, known: Heldout) -> None:
        """How the best candidate of the search got better on items that it never saw."""
        most = self.experiment.budget.curve
        points = incumbents(read_history(self.directory / "history.jsonl"), EVOLVED, most)
        if not most or not points:
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
        save_curve(points, heldout, self.experiment.task.on(split), self.directory / CURVE)

    def _keep_front(
        self, problem: Problem, found: Found, known: Heldout
    ) -> Float[np.ndarray, "members dims"] | None:
        """A recipe for every member of the front that a strategy of several objectives found.

        Members are chosen on the validation split, or else on the search split: by test items
        nothing is chosen.
        """
        task = self.experiment.task
        if found.front is None or not len(found.front) or not isinstance(task, SeveralTasks):
            return None
        splits = [s for s in ("validation", "search", "test") if s in known.splits]
        tasks = tuple(task.tasks)
        measured = {split: known.objectives(found.front, split) for split in splits}
        kept = best_members(measured[splits[0]])
        if not kept.any():
            return None
        folder = self.directory / FOLDER
        folder.mkdir(exist_ok=True)
        members = []
        for index, place in enumerate(np.flatnonzero(kept)):
            recipe = problem.recipe(dataclasses.replace(found, genotype=found.front[place]))
            recipe.save(folder / f"{index}.yaml")
            scores: dict[str, dict[str, float]] = {
                split: dict(zip(tasks, map(float, means[place]), strict=True))
                for split, means in measured.items()
            }
            members.append(Member(f"{FOLDER}/{index}.yaml", scores))
        measures = tuple(one.measure for one in task.tasks.values())
        front = Front(splits[0], tasks, tuple(members), measures)
        front.save(self.directory)
        plots = self.directory / "plots"
        plots.mkdir(exist_ok=True)
        history = list(read_history(self.directory / "history.jsonl"))
        plot_front(front, history, EVOLVED, plots / "front.png")
        say(
            self.console,
            f"a front of {len(members)} merges: evojax-merge apply {self.directory} --select knee "
            "--out DIR, or an index of front.json, or weights",
        )
        return found.front[kept]

    def _choose(
        self,
        known: Heldout,
        state: EvolutionState,
        strategy: Strategy,
        partly: bool,
        front: np.ndarray | None = None,
    ) -> np.ndarray:
        """The finalist that is best on the validation split; without one, on the search split.

        Finalists are the best of the archive, what the strategy itself recommends, and the front
        of a strategy of several objectives. Those of which a part was measured (``partly``) are
        measured on the whole search split, where there is no other.
        """
        fitness = np.asarray(state.archive.fitness)
        finalists = np.asarray(state.archive.genotypes)[np.isfinite(fitness)]
        if not len(finalists):
            raise ValueError(
                "no candidate had a finite score, so that there is none to choose; see the "
                f"items in {self.directory / 'history.jsonl'}"
            )
        validated = "validation" in known.splits
        recommended = strategy.recommend(state.strategy)
        if recommended is not None and (validated or partly):
            finalists = np.concatenate([finalists, np.asarray(recommended)[None]])
        if front is not None and len(front):
            finalists = np.concatenate([finalists, front])
        if len(finalists) == 1 or not (validated or partly):
            return finalists[0]
        split = "validation" if validated else "search"
        scores = known.fitness(finalists, split)
        return finalists[int(np.nanargmax(scores)) if np.isfinite(scores).any() else 0]

    def _compare(
        self,
        problem: Problem,
        model: Model | None,
        found: Mapping[str, Found],
        earlier: Mapping[str, Found],
    ) -> list[Result]:
        """Every method on the best-held-out split there is, and the winner on the others."""
        splits = [s for s in ("test", "validation", "search") if s in problem.evaluator.tasks]
        costs = {name: _cost(one) for name, one in earlier.items()}
        costs |= {name: _cost(one, *earlier.values()) for name, one in found.items()}

        def result(name: str, split: str, items: np.ndarray) -> Result:
            searched = name in costs or name == EXPORTED
            task = self.experiment.task.on(split)
            cost = costs.get(name, (0, 0.0, 0))
            return Result.of(
                name, task, items, *cost, chosen_on_these_items=searched and is_chosen_by(task)
            )

        results = [
            result(name, splits[0], items)
            for name, items in problem.compare(model, found, splits[0])
        ]
        for split in splits[1:]:
            results.append(result(EVOLVED, split, problem.measure(model, found[EVOLVED], split)))
        return results

    def _compare_front(
        self,
        found: Found,
        front: Float[np.ndarray, "members dims"] | None,
        earlier: Mapping[str, Found],
        known: Heldout,
    ) -> list[Result]:
        """The members of the front on the split that methods are compared on."""
        if front is None:
            return []
        task = self.experiment.task.on(known.splits[0])
        cost, chosen = _cost(found, *earlier.values()), is_chosen_by(task)
        return [
            Result.of(f"front {index}", task, items, *cost, chosen_on_these_items=chosen)
            for index, items in enumerate(known.items(front, task.current_split))
        ]

    def _plot(self, problem: Problem, recipe: Any, stages: Mapping[str, Stage]) -> None:
        plots = self.directory / "plots"
        plots.mkdir(exist_ok=True)
        history = self.directory / "history.jsonl"
        own = {
            name: self._measure_of(stage)
            for name, stage in stages.items()
            if stage.strategy.scores_itself
        }
        plot_fitness(read_history(history), plots / "fitness.png", self.experiment.task, own)
        problem.plot(recipe, history, plots)

    def _report(self, results: list[Result], front: list[Result]) -> None:
        final = results[0].split
        compared = [result for result in results if result.split == final]
        for name, shown in ((self.experiment.task.name, compared), ("front", front)):
            if shown:
                self.console.print(results_table(shown, name))
            if line := choice_line(shown):
                say(self.console, line)
        line = noise_line([result for result in results if result.name == EVOLVED])
        say(self.console, line)


def _cost(found: Found, *earlier: Found) -> tuple[int, float, int]:
    """Evaluations, seconds and measured items of a search and of those that it builds on."""
    every = (*earlier, found)
    return (
        sum(one.evaluations for one in every),
        sum(one.seconds for one in every),
        sum(one.item_evaluations for one in every),
    )


def _random_search(space: Any, stage: Stage) -> Stage:
    """A random search beside another one: as many candidates, each measured on as many items.

    It keeps the best that it saw, which of minibatches that change would be the luckiest; so all of
    its candidates meet the same ones.
    """
    strategy = EvosaxStrategy(
        Setting(space.lower, space.upper, space.start),
        "RandomSearch",
        population_size=stage.strategy.population_size,
    )
    minibatch = stage.savers.minibatch
    same = None if minibatch is None else {**minibatch, "fresh": False}
    savers = dataclasses.replace(stage.savers, minibatch=same)
    return dataclasses.replace(stage, strategy=strategy, savers=savers)
