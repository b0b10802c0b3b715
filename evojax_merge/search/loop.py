"""The search, which asks, evaluates, tells and saves once a generation."""

import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any, NamedTuple

import jax
import numpy as np

from evojax_merge import hosts
from evojax_merge.measuring.evaluation import Evaluation
from evojax_merge.params.types import Array, Int, Population, PRNGKey
from evojax_merge.search.checkpointer import Checkpointer, CheckpointingError
from evojax_merge.search.history import History, HistoryWarning, numbered
from evojax_merge.search.state import (
    Archive,
    EvolutionState,
    Spent,
    as_bytes,
    from_bytes,
    init_archive,
    update_archive,
)
from evojax_merge.strategies.base import Strategy

EvaluateFn = Callable[[Population], Evaluation]


class ConstantFitnessWarning(UserWarning):
    """The warning that all candidates got the same fitness, so that a search has no direction."""


class Metrics(NamedTuple):
    """What is worth telling of a generation.

    ``generation`` counts from 1. ``best`` is the best of the whole search, by what is assured where
    candidates met different items (`Evaluation.assured`). ``top`` and ``mean`` are the best and the
    mean of the generation's finite scores, nan when there are none. ``seconds`` is the wall time of
    the generation, and ``failed`` is how many of its candidates had no finite score. ``spent`` is
    what the search has cost so far, and ``archive`` holds its best candidates.
    """

    generation: int
    best: float
    top: float
    mean: float
    failed: int
    seconds: float
    spent: Spent
    archive: Archive


def init_state(strategy: Strategy, key: PRNGKey, archive_size: int) -> EvolutionState:
    """The state before the first generation."""
    key_strategy, key_search = _split(key)
    return EvolutionState(
        generation=jax.device_put(np.int32(0)),
        key=key_search,
        strategy=strategy.init(key_strategy),
        archive=init_archive(archive_size, strategy.dims),
    )


@jax.jit
def _split(key: PRNGKey) -> tuple[PRNGKey, PRNGKey]:
    first, second = jax.random.split(key)
    return first, second


@jax.jit
def _keys(key: PRNGKey, generation: Int[Array, ""]) -> tuple[PRNGKey, PRNGKey]:
    """The keys of a generation's `ask` and `tell`."""
    return _split(jax.random.fold_in(key, generation))


def step(
    state: EvolutionState, strategy: Strategy, evaluate_fn: EvaluateFn
) -> tuple[EvolutionState, Population, Evaluation]:
    """One generation, which depends on nothing but its arguments, except for its seconds."""
    began, before = time.perf_counter(), strategy.spent(state.strategy)
    key_ask, key_tell = _keys(state.key, state.generation)
    population, asked = strategy.ask(key_ask, state.strategy)
    if hosts.active():
        hosts.check_same("the candidates of a generation", np.asarray(population).tobytes())
    evaluation = evaluate_fn(population)
    told = jax.device_put(evaluation.heard(strategy.hears))
    learned = strategy.tell(key_tell, population, told, asked)
    archive = update_archive(state.archive, population, jax.device_put(evaluation.assured))
    generation = jax.device_put(np.int32(int(state.generation) + 1))
    after = EvolutionState(generation, state.key, learned, archive)
    own = strategy.spent(learned) - before
    return after, population, _charged(evaluation, own, time.perf_counter() - began)


def _charged(evaluation: Evaluation, items: int, seconds: float) -> Evaluation:
    """An evaluation whose first candidate counts for what the strategy itself measured, too.

    Args:
        evaluation: The evaluation of the generation.
        items: How many items the strategy measured, for gradients.
        seconds: How many seconds the generation took in all.
    """
    if not items:  # what else a strategy does, and its compilation, is not evaluation
        return evaluation
    spent, times = evaluation.item_evaluations.copy(), evaluation.seconds.copy()
    spent[0] += items
    times[0] += max(0.0, seconds - float(times.sum()))
    return evaluation._replace(spent=spent, seconds=times)


def search(
    name: str,
    strategy: Strategy,
    evaluate_fn: EvaluateFn,
    *,
    key: PRNGKey,
    generations: int,
    archive_size: int,
    checkpointer: Checkpointer | None = None,
    history: History | None = None,
    item_evaluations: int | None = None,
    on_resume: Callable[[list[dict[str, Any]], int], None] = lambda rows, generations: None,
    on_generation: Callable[[Metrics], None] = lambda metrics: None,
    interrupted: Callable[[], None] = lambda: None,
) -> EvolutionState:
    """Run a search to its last generation, from wherever its checkpoints left it.

    Generations whose results are missing in the history are done again if a checkpoint before
    them is kept. Otherwise they stay missing, and what they cost is known from the checkpoint.

    Several processes search alike. The first one alone reads what was left, and saves.

    Args:
        name: What the history calls the search.
        strategy: The strategy that proposes genotypes.
        evaluate_fn: The function that scores them.
        key: The root of the search's randomness.
        generations: The number of generations in all.
        archive_size: How many of the best candidates are kept.
        checkpointer: What holds earlier generations and saves the new ones, if any; of several
            processes, in the first one.
        history: The history that every candidate is written to, if any.
        item_evaluations: The number of measured items after which the search stops, at the end of
            a generation; by default, there is no limit.
        on_resume: A function that is told the history of earlier generations, and how many those
            are, before the first new one.
        on_generation: A function that is told about each new generation.
        interrupted: A function that raises when it is time to leave; the generation under way is
            then lost, and done again on resuming.

    Raises:
        CheckpointingError: What was saved cannot be read, or a generation cannot be saved.
        HistoryError: Results are missing in the history, and no checkpoint tells what they cost.

    Warns:
        ConstantFitnessWarning: The first generation's candidates all scored the same, in all tasks
            or in one of several.
        HistoryWarning: Results are missing in the history.
        DamagedCheckpointWarning: The newest checkpoint is damaged.
    """
    state, earlier = _begin(name, strategy, key, archive_size, checkpointer, history)
    spent = Spent() if history is None else history.spent
    if int(state.generation):
        on_resume(earlier, int(state.generation))
    with checkpointer or nullcontext():
        for generation in range(int(state.generation), generations):
            if item_evaluations is not None and spent.item_evaluations >= item_evaluations:
                break
            interrupted()
            began = time.perf_counter()
            state, population, evaluation = step(state, strategy, evaluate_fn)
            if history is None:
                spent = spent.plus(_cost(evaluation))
            else:
                history.append(name, generation, population, evaluation)
                spent = history.spent
            if checkpointer is not None:
                checkpointer.save(state, spent)
            metrics = _metrics(state, evaluation, time.perf_counter() - began, spent)
            if generation == 0:
                _warn_if_constant(name, evaluation)
            on_generation(metrics)
    return state


def _begin(
    name: str,
    strategy: Strategy,
    key: PRNGKey,
    archive_size: int,
    checkpointer: Checkpointer | None,
    history: History | None,
) -> tuple[EvolutionState, list[dict[str, Any]]]:
    """The newest state with which the history can be continued, and the rows of the history."""
    first = init_state(strategy, key, archive_size)
    if not hosts.active():
        return _found(name, strategy, first, checkpointer, history)
    state = first
    rows: list[dict[str, Any]] = []
    if hosts.is_first():
        state, rows = _found(name, strategy, first, checkpointer, history)
    spent, lost = ((), ()) if history is None else (history.spent, history.lost)
    rows, spent, lost = hosts.agree([rows, list(spent), list(lost)])
    if history is not None:
        history.spent, history.lost = Spent(*spent), lost
    return from_bytes(first, hosts.agree_bytes(lambda: as_bytes(state))), rows


def _found(
    name: str,
    strategy: Strategy,
    first: EvolutionState,
    checkpointer: Checkpointer | None,
    history: History | None,
) -> tuple[EvolutionState, list[dict[str, Any]]]:
    """What `_begin` gives, by what this process finds."""
    state = first
    if checkpointer is not None:
        state = checkpointer.restore(first) or first
    if history is None:
        return state, []
    history.repair()
    lost = history.missing(name, int(state.generation), strategy.population_size)
    if lost and checkpointer is not None:
        before = None
        with suppress(CheckpointingError):  # damaged: then there is none, and what is there is good
            before = checkpointer.restore(first, most=lost[0])
        if before is not None:
            state = before
            warnings.warn(
                f"{history.path}: {name} lacks candidates of {numbered('generation', lost)} "
                f"(counted from 0); they are measured again, from generation {state.generation}",
                HistoryWarning,
                stacklevel=3,
            )
    known = None if checkpointer is None else checkpointer.spent(int(state.generation))
    return state, history.rewind(name, int(state.generation), strategy.population_size, known)


def _cost(evaluation: Evaluation) -> Spent:
    items = int(evaluation.item_evaluations.sum())
    return Spent(len(evaluation.items), items, float(evaluation.seconds.sum()))


def _metrics(
    state: EvolutionState, evaluation: Evaluation, seconds: float, spent: Spent
) -> Metrics:
    fitness = evaluation.fitness
    finite = fitness[np.isfinite(fitness)]
    return Metrics(
        generation=int(state.generation),
        best=float(np.asarray(state.archive.fitness)[0]),
        top=float(finite.max()) if finite.size else float("nan"),
        mean=float(finite.mean()) if finite.size else float("nan"),
        failed=len(fitness) - finite.size,
        seconds=seconds,
        spent=spent,
        archive=state.archive,
    )


def _warn_if_constant(name: str, evaluation: Evaluation) -> None:
    kinds = [f"score in {part.name}" for part in evaluation.parts] or ["fitness"]
    for kind, values in zip(kinds, evaluation.objectives.T, strict=True):
        finite = values[np.isfinite(values)]
        if len(values) < 2 or np.unique(finite).size > 1:
            continue
        what = f"the same {kind} ({finite[0]:g})" if finite.size else f"no finite {kind}"
        rest = "This objective" if evaluation.parts else "The search"
        warnings.warn(
            f"{name}: every candidate of the first generation has {what}. {rest} has nothing to go "
            "by: check the task's prompt template, reference field and answer extraction with "
            "`evojax-merge evaluate`, or widen the space's bounds.",
            ConstantFitnessWarning,
            stacklevel=3,
        )
