"""How a strategy gets a problem's seeds and gradients, and who scores the candidates."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from evojax_merge import hosts
from evojax_merge.config.experiment import Savers
from evojax_merge.fitness.external.task import BoundExternal
from evojax_merge.fitness.several import parts_of, tasks_of
from evojax_merge.measuring.evaluation import Evaluation
from evojax_merge.params.types import Population
from evojax_merge.runs.problem import Problem
from evojax_merge.savers import Memory, Scorer, make_rule
from evojax_merge.search.loop import EvaluateFn
from evojax_merge.strategies import Strategy


class Pair(NamedTuple):
    """What a search runs on.

    Attributes:
        strategy: The strategy, with the problem's seeds and gradients where it asks for them.
        evaluate_fn: The function that scores a generation.
        resume: The function that takes, when a search goes on, the history of what was measured
            before and the number of generations.
    """

    strategy: Strategy
    evaluate_fn: EvaluateFn
    resume: Callable[[list[dict[str, Any]], int], None]


def pair(
    problem: Problem,
    strategy: Strategy,
    savers: Savers,
    interrupted: Callable[[], None] = lambda: None,
) -> Pair:
    """Bring a strategy and a problem together.

    Args:
        problem: What is searched.
        strategy: The strategy that searches it.
        savers: What saves evaluations.
        interrupted: A function that is called between chunks and may raise to leave.

    Raises:
        ValueError: A saver does not fit the task.
    """
    if (seeds := problem.seeds) is not None:
        strategy = strategy.seed(seeds)
    if strategy.follows_gradients:
        strategy = strategy.bind(problem.descendable())
    if strategy.scores_itself:
        return Pair(strategy, _by_own_score(strategy), lambda rows, generations: None)
    scorer = _make_scorer(problem, strategy, savers, interrupted)

    def resume(rows: list[dict[str, Any]], generations: int) -> None:
        if any(math.isfinite(row["fitness"]) for row in rows):
            for part in tasks_of(problem.evaluator.tasks["search"]):
                if isinstance(part, BoundExternal):
                    part.has_worked()
        scorer.resume(rows, generations)

    return Pair(strategy, scorer, resume)


def _make_scorer(
    problem: Problem,
    strategy: Strategy,
    savers: Savers,
    interrupted: Callable[[], None],
) -> Scorer:
    """What measures the generations of a search, with the savers that are switched on."""
    task = problem.evaluator.tasks["search"]
    items = len(task)
    every = np.arange(items)

    def measure(genotypes: np.ndarray, rows: np.ndarray) -> Evaluation:
        hosts.check_same("what is measured next", genotypes.tobytes(), rows.tobytes())
        chosen = None if np.array_equal(rows, every) else rows
        return problem.evaluator(genotypes, "search", interrupted, chosen)

    keys = getattr(problem.space, "keys", None)
    memory = Memory(keys, items) if savers.memory and keys is not None else None
    sources, before = None, (0, 0.0)
    if savers.anchors is not None:  # by a search that goes on again: a few models among many
        began = time.perf_counter()
        sources = problem.measure_sources("search")
        before = sources.size, time.perf_counter() - began
    rule = make_rule(savers, task, strategy, sources)
    return Scorer(rule, measure, items, parts_of(task), memory, before)


def _by_own_score(strategy: Strategy) -> Callable[[Population], Evaluation]:
    """The function that scores candidates as the strategy does, whatever the task's answers."""

    def evaluate_fn(population: Population) -> Evaluation:
        began = time.perf_counter()
        items = strategy.score(population)
        seconds = (time.perf_counter() - began) / len(items)
        return Evaluation(items, np.full(len(items), seconds, np.float32))

    return evaluate_fn
