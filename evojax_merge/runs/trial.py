"""A trial of a run: one candidate is measured, and that tells what the whole would take."""

import dataclasses
import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.table import Table

from evojax_merge.config.experiment import Experiment
from evojax_merge.documents.terminal import cell
from evojax_merge.fitness.beside import prepare
from evojax_merge.fitness.several import tasks_of
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.measuring.outlook import outlook
from evojax_merge.measuring.programs import HostProgram
from evojax_merge.models.split import POP
from evojax_merge.report.course import GENERATION, Step
from evojax_merge.report.progress import duration
from evojax_merge.runs.preparation import set_up
from evojax_merge.runs.problem import EVOLVED, Found, Problem, Winner
from evojax_merge.runs.setup import Setup, Stage
from evojax_merge.runs.steps import READING, items_of, steps_of

_ENOUGH = 2.0
"""The seconds after which no further candidates are measured."""

_TIMES = 8
"""How many times some are measured at most."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """How long candidates of a search take.

    Attributes:
        name: The name of the search.
        together: How many candidates all devices measure at once.
        items: On how many items.
        compiling: The seconds for compiling the programs, or for reading them from the cache.
        seconds: The seconds for that many candidates, once everything is compiled.
        unlike: How many times compiling would be done for the other splits, whose batches have
            other shapes: 0 where they have the same ones.
    """

    name: str
    together: int
    items: int
    compiling: float
    seconds: float
    unlike: float

    def of(self, step: Step) -> float:
        """The seconds that measuring takes in a step."""
        if not step.size:
            return step.seconds
        each, times = step.candidates, 1
        if step.unit == GENERATION:
            each, times = step.candidates // step.amount, step.amount
        chunks = math.ceil(each / self.together) * times
        return chunks * self.seconds * step.items / self.items + step.seconds


@dataclasses.dataclass(frozen=True)
class Trial:
    """What a run would take, by one candidate that was measured.

    Attributes:
        steps: The steps of the run, and the seconds of each.
        timings: How long candidates of each search take.
        compiling: The seconds for compiling, in all.
        peak: The bytes of the device that were in use at most; on a CPU, those of the process.
        memory: The bytes that there are; None where that is not known.
        notes: What is not in the numbers.
    """

    steps: tuple[tuple[Step, float], ...]
    timings: tuple[Timing, ...]
    compiling: float
    peak: int
    memory: int | None
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """The seconds that the whole run would take."""
        return self.compiling + sum(seconds for _, seconds in self.steps)

    def table(self) -> Table:
        """The steps, and what each of them would take."""
        table = Table()
        for head in ("step", "what", "takes"):
            table.add_column(cell(head), overflow="fold")
        rows = [(step.name, _what(step), seconds) for step, seconds in self.steps]
        rows.append(("compiling", "less where programs are in the cache", self.compiling))
        for name, what, seconds in rows:
            table.add_row(cell(name), cell(what), cell(_text(seconds)))
        table.add_section()
        table.add_row(cell("in all"), cell(""), cell(f"about {_text(self.seconds)}"))
        return table

    def lines(self) -> list[str]:
        """How long candidates take, how much memory, and what is not in the numbers."""
        found = [
            f"{one.name}: {one.together} candidate{'s' * (one.together > 1)} on {one.items} items "
            f"take{'s' * (one.together == 1)} {one.seconds:.2g} s, after {one.compiling:.2g} s of "
            "compiling"
            for one in self.timings
        ]
        where = "of the process" if self.memory is None else "of a device"
        of = "" if self.memory is None else f" of {self.memory / 1e9:.3g} GB"
        found.append(f"memory {where} at its highest: {self.peak / 1e9:.3g} GB{of}")
        return [*found, *self.notes]


def try_out(experiment: Experiment, tell: Callable[[str], None]) -> Trial:
    """Read all that an experiment reads, measure one candidate of each search, and leave nothing.

    Args:
        experiment: The experiment.
        tell: The function that shows a message.

    Raises:
        ValueError: Something makes the experiment impossible.
    """
    setup = set_up(experiment)
    tell("dry run: one candidate is measured, and nothing is written")
    for line in setup.describe():
        tell(line)
    timings: list[Timing] = []
    winners: dict[str, Winner] = {}
    with tempfile.TemporaryDirectory(prefix="evojax-merge-") as scratch:
        began = time.perf_counter()
        setup.load(Path(scratch), tell)
        for bound in setup.bound.values():
            prepare(bound)
        reading = time.perf_counter() - began
        for stage in setup.stages:
            problem = stage.problem(winners)
            last = stage is setup.stages[-1]
            for line in outlook(
                problem.evaluator,
                stage.strategy.population_size,
                stage.evaluations,
                items_of(setup.bound["search"], stage),
            ):
                tell(line)
            name = EVOLVED if last else stage.name
            timings.append(_timed(problem, stage, name, experiment.seed))
            if not last:
                recipe = problem.recipe(Found(_start(problem), 0, 0.0))
                model = problem.build(recipe)
                winners[stage.name] = Winner(Found(_start(problem), 0, 0.0), recipe, model)
    return _trial(setup, timings, reading)


def _timed(problem: Problem, stage: Stage, name: str, seed: int) -> Timing:
    """Measure what fits at once of the first generation, which is compiled first, and again.

    Others of that generation are measured too while there is time: paths are not all of one length.
    """
    evaluator = problem.evaluator
    task = evaluator.tasks["search"]
    items = items_of(task, stage)
    rows = None if items == len(task) else np.arange(items)
    together = evaluator.chunk * evaluator.mesh.shape[POP]
    if any(isinstance(one, HostProgram) for one in evaluator.workload.programs["search"]):
        together = 1  # the host measures no candidates that only fill up a chunk
    population = _first_generation(problem, stage, seed)
    parts = [population[first : first + together] for first in range(0, len(population), together)]

    def measure(part: np.ndarray) -> float:
        began = time.perf_counter()
        evaluator(part, "search", rows=rows)
        return time.perf_counter() - began

    first = measure(parts[0])
    seconds = [measure(parts[0])]
    compiling = max(0.0, first - seconds[0])
    for part in parts[1:_TIMES]:
        if sum(seconds) < _ENOUGH:
            seconds.append(measure(part))
    mean = sum(seconds) / len(seconds)
    return Timing(name, together, items, compiling, mean, _unlike(evaluator))


def _first_generation(problem: Problem, stage: Stage, seed: int) -> np.ndarray:
    """The first generation of a search; where gradients propose it, where the space starts."""
    strategy = stage.strategy
    if strategy.follows_gradients:
        return _start(problem)[None]
    if (seeds := problem.seeds) is not None:
        strategy = strategy.seed(seeds)
    key = jax.random.key(seed)
    population, _ = strategy.ask(key, strategy.init(key))
    return np.asarray(population, np.float32)


def _start(problem: Problem) -> np.ndarray:
    """A genotype that is not special, where spaces begin."""
    return np.asarray(problem.space.start, np.float32)


def _unlike(evaluator: Evaluator) -> float:
    """How many shapes of batches other splits have that the search split has not, by its own."""

    def shapes(split: str) -> set[Any]:
        return {
            tuple((leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(tuple(batch)))
            for part in tasks_of(evaluator.tasks[split])
            for batch in part.batches
        }

    own = shapes("search")
    others = set().union(*(shapes(one) for one in evaluator.tasks if one != "search")) - own
    return len(others) / max(len(own), 1)


def _trial(setup: Setup, timings: list[Timing], reading: float) -> Trial:
    by_name: Mapping[str, Timing] = {one.name: one for one in timings}
    timing, steps = timings[0], []
    for step in steps_of(setup):
        timing = by_name.get(step.name, timing)
        steps.append((step, reading if step.name == READING else timing.of(step)))
    compiling = sum(one.compiling * (1 + one.unlike) for one in timings)
    return Trial(tuple(steps), tuple(timings), compiling, *_memory(), tuple(_notes(setup, timings)))


def _notes(setup: Setup, timings: list[Timing]) -> list[str]:
    notes = []
    strategies = [stage.strategy for stage in setup.stages]
    if any(one.follows_gradients or one.scores_itself for one in strategies):
        notes.append("the strategy's own work, as along gradients, is not in these numbers")
    savers = {name for stage in setup.stages for name in stage.savers.partial}
    if savers & {"racing", "anchors"}:
        notes.append(f"{' and '.join(sorted(savers))} saves some of that")
    return notes


def _memory() -> tuple[int, int | None]:
    """The bytes in use at most, and those that there are, of a device or of the process."""
    statistics = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [one["peak_bytes_in_use"] for one in statistics if "peak_bytes_in_use" in one]
    if peaks:
        limits = [one["bytes_limit"] for one in statistics if "bytes_limit" in one]
        return max(peaks), min(limits, default=None)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, None


def _what(step: Step) -> str:
    if step.unit == GENERATION:
        each = step.candidates // step.amount
        return f"{step.amount} generations of {each} candidates on {step.items} items"
    if step.size:
        plural = "s" * (step.candidates > 1)
        return f"at most {step.candidates} merge{plural} on {step.items} items"
    return ""


def _text(seconds: float) -> str:
    if seconds < 0.1:
        return "< 0.1 s"
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)
