"""One search of a run, from its first generation to the choice of its winner."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from evojax_merge import hosts
from evojax_merge.config.experiment import Experiment, MinibatchConfig
from evojax_merge.documents.terminal import say
from evojax_merge.fitness.base import Measure, Task
from evojax_merge.fitness.several import SeveralTasks
from evojax_merge.measuring.heldout import Heldout
from evojax_merge.measuring.outlook import outlook
from evojax_merge.report.hypervolume import best_members
from evojax_merge.report.progress import SearchProgress
from evojax_merge.runs.pairing import pair
from evojax_merge.runs.problem import Found, Problem
from evojax_merge.runs.setup import Stage
from evojax_merge.search.checkpointer import Checkpointer
from evojax_merge.search.history import History
from evojax_merge.search.interruption import Interruption
from evojax_merge.search.loop import search
from evojax_merge.search.state import EvolutionState
from evojax_merge.strategies import EvosaxStrategy, Setting, Strategy

HISTORY, CHECKPOINTS = "history.jsonl", "checkpoints"


@dataclasses.dataclass(frozen=True)
class Searcher:
    """What carries out the searches of a run, in its directory.

    Attributes:
        experiment: What is done.
        directory: The run's directory, which holds the history and the checkpoints.
        console: Where progress is shown.
        interruption: The object that is asked whether to leave.
    """

    experiment: Experiment
    directory: Path
    console: Console
    interruption: Interruption

    def search(self, name: str, problem: Problem, stage: Stage, known: Heldout) -> Found:
        """Carry out a search, or the rest of it, and choose its winner.

        Args:
            name: What history and results call the search.
            problem: What is searched.
            stage: How it is searched, and how long.
            known: The results on held-out items, to which the search adds its own.

        Raises:
            ValueError: No candidate had a finite score.
        """
        generations = -(-stage.evaluations // stage.strategy.population_size)
        strategy, score_fn, resume = pair(
            problem, stage.strategy, stage.savers, self.interruption.agreed
        )
        if not strategy.scores_itself:
            self._say_outlook(problem, stage)
        history = History(self.directory / HISTORY, genotypes=problem.keeps_genotypes)
        progress = SearchProgress(
            self.console,
            name,
            generations,
            strategy.population_size,
            measure_of(stage, self.experiment.task),
            assured=stage.savers.minibatch is not None,
        )
        kept = self.directory / CHECKPOINTS / name
        self.interruption.agreed()
        with self.interruption.deferred(), progress as on_generation:
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
                on_resume=resume,
                on_generation=on_generation,
                interrupted=self.interruption.agreed,
            )
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
        items, given = len(problem.evaluator.tasks["search"]), stage.savers.minibatch
        if given is not None:
            items = min(items, given.get("size", MinibatchConfig.size))
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
                f"items in {self.directory / HISTORY}"
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
