"""One search of a run, from its first generation to the choice of its winner."""

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from evojax_merge import hosts
from evojax_merge.config.experiment import Experiment
from evojax_merge.documents.files import write_whole
from evojax_merge.documents.terminal import say
from evojax_merge.fitness.base import Measure, Task
from evojax_merge.fitness.several import SeveralTasks
from evojax_merge.measuring.heldout import Heldout
from evojax_merge.measuring.outlook import outlook
from evojax_merge.recipes.coefficients import BEST_FILE
from evojax_merge.report.course import Course, Generation
from evojax_merge.report.hypervolume import best_members
from evojax_merge.report.run_files import CHECKPOINTS, HISTORY_FILE
from evojax_merge.runs.pairing import pair
from evojax_merge.runs.problem import Found, Problem
from evojax_merge.runs.setup import Stage
from evojax_merge.runs.steps import finalists, items_of
from evojax_merge.search.checkpointer import Checkpointer
from evojax_merge.search.history import History
from evojax_merge.search.interruption import Interruption
from evojax_merge.search.loop import Metrics, search
from evojax_merge.search.state import EvolutionState
from evojax_merge.strategies import EvosaxStrategy, Setting, Strategy


@dataclasses.dataclass(frozen=True)
class Searcher:
    """What carries out the searches of a run, in its directory.

    Attributes:
        experiment: What is done.
        directory: The run's directory, which holds the history and the checkpoints.
        console: Where progress is shown.
        interruption: The object that is asked whether to leave.
        course: What is told how far searches are.
    """

    experiment: Experiment
    directory: Path
    console: Console
    interruption: Interruption
    course: Course

    def search(
        self, name: str, problem: Problem, stage: Stage, known: Heldout, beside: bool = False
    ) -> Found:
        """Carry out a search, or the rest of it, and choose its winner.

        Args:
            name: What history and results call the search.
            problem: What is searched.
            stage: How it is searched, and how long.
            known: The results on held-out items, to which the search adds its own.
            beside: Whether it is a baseline, whose best merge is not kept while it goes on.

        Raises:
            ValueError: No candidate had a finite score.
        """
        generations = stage.generations
        strategy, score_fn, resume = pair(
            problem, stage.strategy, stage.savers, self.interruption.agreed
        )
        if not strategy.scores_itself and not beside:
            self._say_outlook(problem, stage)
        history = History(self.directory / HISTORY_FILE, genotypes=problem.keeps_genotypes)
        kept = self.directory / CHECKPOINTS / name
        self.course.begin(name)
        following = _Following(self, name, problem, stage, generations, keeps=not beside)
        self.interruption.agreed()
        with self.interruption.deferred():
            state = search(
                name,
                strategy,
                score_fn,
                key=jax.random.key(self.experiment.seed),
                generations=generations,
                archive_size=self.experiment.budget.finalists,
                checkpointer=Checkpointer(kept) if hosts.is_first() else None,
                history=history,
                item_evaluations=self.experiment.budget.item_evaluations,
                on_resume=following.resuming(resume),
                on_generation=following,
                interrupted=self.interruption.agreed,
            )
        self.course.begin(finalists(name))
        front = None
        if (best := strategy.front(state.strategy)) is not None:
            members, objectives = (np.asarray(part) for part in best)
            known.add(members, "search", objectives)
            front = members[best_members(objectives)]
        winner = self._choose(known, state, strategy, bool(stage.savers.partial), front)
        spent = history.spent
        return Found(winner, spent.evaluations, spent.seconds, spent.item_evaluations, front)

    def _say_outlook(self, problem: Problem, stage: Stage) -> None:
        """Say on which devices a search runs, and how long it takes at least."""
        items = items_of(problem.evaluator.tasks["search"], stage)
        size = stage.strategy.population_size
        for line in outlook(problem.evaluator, size, stage.evaluations, items):
            say(self.console, line)

    def _choose(
        self,
        known: Heldout,
        state: EvolutionState,
        strategy: Strategy,
        partly: bool,
        front: np.ndarray | None = None,
    ) -> np.ndarray:
        """The finalist that is best on the validation split, or without one on the search split.

        Finalists are the best of the archive, what the strategy itself recommends, and the front
        of a strategy of several objectives. Those of which a part was measured (``partly``) are
        measured on the whole search split, where there is no other.
        """
        fitness = np.asarray(state.archive.fitness)
        finalists = np.asarray(state.archive.genotypes)[np.isfinite(fitness)]
        if not len(finalists):
            raise ValueError(
                "no candidate had a finite score, so that there is none to choose; see the "
                f"items in {self.directory / HISTORY_FILE}"
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


class _Following:
    """What tells the course of a run about a search, and keeps the recipe of its best.

    Args:
        searcher: What carries out the search.
        name: What the search is called.
        problem: What is searched.
        stage: How it is searched.
        generations: How many generations it has.
        keeps: Whether the recipe of its best is kept.
    """

    def __init__(
        self,
        searcher: Searcher,
        name: str,
        problem: Problem,
        stage: Stage,
        generations: int,
        keeps: bool,
    ):
        self._searcher, self._name, self._problem = searcher, name, problem
        self._generations = generations
        self._measure = measure_of(stage, searcher.experiment.task)
        self._keeps = keeps and problem.keeps_genotypes and hosts.is_first()
        self._best = float("-inf")

    def resuming(self, resume: Any) -> Any:
        """The function that is told of earlier generations, which the course hears of, too."""

        def on_resume(rows: list[Mapping[str, Any]], generations: int) -> None:
            latest = [row for row in rows if row["generation"] == generations - 1]
            seconds = sum(row["seconds"] or 0.0 for row in latest)
            size = sum(row["item_evaluations"] for row in latest)
            self._searcher.course.resumed(generations, seconds, size)
            resume(rows, generations)

        return on_resume

    def __call__(self, metrics: Metrics) -> None:
        """Tell of a generation."""

        def genotype() -> np.ndarray:
            return np.asarray(metrics.archive.genotypes)[0]

        def recipe() -> Any:
            spent = metrics.spent
            return self._problem.recipe(Found(genotype(), spent.evaluations, spent.seconds))

        if self._keeps and metrics.best > self._best:
            self._best = metrics.best
            with contextlib.suppress(OSError):  # of a full disk, which saving the search tells of
                found = recipe()
                write_whole(self._searcher.directory / BEST_FILE, found.save)
        self._searcher.course.generated(
            Generation(
                search=self._name,
                number=metrics.generation,
                generations=self._generations,
                best=metrics.best,
                top=metrics.top,
                mean=metrics.mean,
                failed=metrics.failed,
                evaluations=metrics.spent.evaluations,
                item_evaluations=metrics.spent.item_evaluations,
                seconds=metrics.seconds,
                measured_seconds=metrics.spent.seconds,
                measure=self._measure,
                directory=self._searcher.directory,
                find_genotype=genotype,
                make_recipe=recipe,
            )
        )


def measure_of(stage: Stage, task: Task) -> Measure:
    """What a search goes by: its strategy's own score where it has one, or the task's fitness."""
    if (own := stage.strategy.own_measure) is not None:
        return Measure(*own)
    named = isinstance(task, SeveralTasks)
    return task.measure._replace(name="fitness") if named else task.measure


def random_search(space: Any, stage: Stage) -> Stage:
    """A random search beside another one, of as many candidates on as many items each.

    It keeps the best candidate that it saw. With minibatches that change, that would be the
    luckiest one, so all of its candidates meet the same items.
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
