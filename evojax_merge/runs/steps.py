"""The steps of a run, as they are known before it begins."""

import math
from collections.abc import Sequence
from pathlib import Path

from evojax_merge.config.experiment import MinibatchConfig
from evojax_merge.fitness.base import BoundTask
from evojax_merge.report.course import GENERATION, Step
from evojax_merge.runs.problem import EVOLVED, GALLERY
from evojax_merge.runs.setup import Setup, Stage, has_random_search
from evojax_merge.spaces import kind_of

READING, BUILDING, COMPARING = "reading the models", "building the winner", "comparing"
FRONT, CURVE, SPLITS, MEMBERS = "front", "curve", "the other splits", "comparing the front"
PICTURES, PLOTS, EXPORTING, REPORT = "pictures", "plots", "exporting", "report"

_DRAWING = 4.0
"""The seconds that pictures of a search take, most of them for importing what draws."""

_SAVING = 0.1
"""The seconds that a generation takes beside its measuring: to propose, to learn and to save."""

_DISK = 2e8
"""The bytes a second that an export is assumed to write."""

_PUBLISHED = 3


def steps_of(setup: Setup) -> list[Step]:
    """The steps of an experiment that is set up, in order.

    How many candidates are measured after the search is an upper bound: what is known by then is
    not measured again.
    """
    experiment, last = setup.experiment, setup.stages[-1]
    searched = [*setup.stages[:-1]]
    steps = [Step(READING)]
    for stage in searched:
        steps += _searching(setup, stage, stage.name)
    steps += _searching(setup, last, EVOLVED)
    splits = [one for one in ("test", "validation", "search") if one in setup.bound]
    final, measured = splits[0], setup.bound
    if _keeps_front(last):
        size = last.strategy.population_size
        steps.append(Step(FRONT, "merge", size, size, len(measured[final])))
    if points := experiment.budget.curve:
        steps.append(Step(CURVE, "merge", points, points, len(measured[final])))
    if has_random_search(experiment, last):
        steps += _searching(setup, last, last.random)
    steps.append(Step(BUILDING, seconds=1.0))
    methods = contestants(setup)
    steps.append(Step(COMPARING, "merge", methods, methods, len(measured[final])))
    if others := sum(len(measured[split]) for split in splits[1:]):
        steps.append(Step(SPLITS, "split", len(splits) - 1, 1, others))
    if _keeps_front(last):
        size = last.strategy.population_size
        steps.append(Step(MEMBERS, "merge", size, size, len(measured[final])))
    if GALLERY in measured:
        steps.append(Step(PICTURES, "merge", methods, methods, len(measured[GALLERY])))
    steps.append(Step(PLOTS, seconds=_DRAWING))
    if experiment.export:
        steps.append(Step(EXPORTING, seconds=_bytes(setup) / _DISK))
    steps.append(Step(REPORT, seconds=1.0))
    return steps


def steps_line(steps: Sequence[Step], directory: Path) -> str:
    """A line of what a run will do, step by step, and where it is kept."""
    shown = ", ".join(filter(None, map(_shown, steps)))
    return (
        f"steps: {shown}; kept in {directory}. The time that is left is known after the first "
        "generation"
    )


def _shown(step: Step) -> str:
    if step.unit == GENERATION:
        each = step.candidates // step.amount
        return f"{step.name} ({step.amount} × {each} candidates on {_items(step)})"
    if step.name == COMPARING:
        return f"{step.name} {step.amount} merges on {_items(step)}"
    return "" if step.name in (READING, BUILDING, SPLITS) else step.name


def _items(step: Step) -> str:
    return f"{step.items} item{'s' if step.items != 1 else ''}"


def finalists(name: str) -> str:
    """What the step is called that chooses the winner of a search."""
    return f"{name}: finalists"


def generations_of(setup: Setup, stage: Stage) -> int:
    """How many generations a search has, at most."""
    population, found = stage.strategy.population_size, stage.generations
    if (most := setup.experiment.budget.item_evaluations) is not None:
        found = min(found, math.ceil(most / (population * items_of(setup.bound["search"], stage))))
    return max(found, 1)


def items_of(task: BoundTask, stage: Stage) -> int:
    """On how many items each candidate of a search is measured."""
    given = stage.savers.minibatch
    items = len(task)
    return items if given is None else min(items, given.get("size", MinibatchConfig.size))


def contestants(setup: Setup) -> int:
    """How many merges and models are compared at the end."""
    experiment = setup.experiment
    choice, baselines = experiment.model, experiment.baselines
    kind = kind_of(experiment.space)
    found = 1 + has_random_search(experiment, setup.stages[-1])
    if baselines.sources:
        has_base = choice.base is not None and kind not in ("dataflow", "hybrid")
        found += len(choice.sources) + has_base + len(setup.stages) - 1
    if kind in ("dataflow", "hybrid", "joint"):
        return found + 1  # the winner as a plain checkpoint
    return found + (_PUBLISHED if baselines.published else 0)


def _searching(setup: Setup, stage: Stage, name: str) -> list[Step]:
    """The search of a stage and the choice of its winner."""
    task, size = setup.bound["search"], stage.strategy.population_size
    generations = generations_of(setup, stage)
    items = items_of(task, stage)
    steps = [Step(name, GENERATION, generations, generations * size, items, _SAVING * generations)]
    chosen = setup.bound.get("validation")
    if chosen is None and stage.savers.partial:
        chosen = task
    if chosen is not None:
        count = setup.experiment.budget.finalists
        steps.append(Step(finalists(name), "merge", count, count, len(chosen)))
    return steps


def _keeps_front(stage: Stage) -> bool:
    return stage.strategy.hears == "objectives"


def _bytes(setup: Setup) -> float:
    """The bytes of an export, at least."""
    reference = setup.prepared.reference
    shapes = reference.family.layout(reference.config).shapes.values()
    return float(sum(math.prod(shape) for shape in shapes) * setup.prepared.dtype.itemsize)
