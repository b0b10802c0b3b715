"""What a search has before it, in two lines, by what is known without compiling anything."""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from evojax_merge.costs.devices import Figures, figures_of
from evojax_merge.costs.operations import operations
from evojax_merge.fitness.base import BoundTask
from evojax_merge.fitness.several import tasks_of
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.measuring.needs import (
    itemsize_of,
    merging_bytes,
    merging_turns,
    running_bytes,
    work_of,
)
from evojax_merge.measuring.workload import Workload
from evojax_merge.models.request import Generate
from evojax_merge.models.split import MODEL, POP, bytes_per_device


def outlook(evaluator: Evaluator, population: int, evaluations: int, items: int) -> list[str]:
    """Describe the devices of a search and the least time that it takes.

    Args:
        evaluator: What measures candidates.
        population: The number of candidates in a generation.
        evaluations: The number of candidates in all.
        items: The number of items that each is measured on.
    """
    work, mesh = evaluator.workload, evaluator.mesh
    device = mesh.local_devices[0]
    parts, groups = mesh.shape[MODEL], mesh.shape[POP]
    held = bytes_per_device((work.materials, work.shared, work.buffer))
    split = f", each split over {parts}" if parts > 1 else ""
    first = (
        f"{mesh.size} × {device.device_kind}: {_count(work.parameters)} parameters in "
        f"{work.dtype.name}, {work.chunk} candidate{'s' * (work.chunk > 1)} at a time on "
        f"each{split}; models take {held / 1e9:.3g} GB"
    )
    figures = figures_of(device)
    if work.on_host:
        tail = "candidates are written for a measure of your own, whose time is not known"
        return [first, tail]
    if figures is None:
        return [first]
    first += f" of {figures.memory / 1e9:.3g} GB"
    config, task = evaluator.config, evaluator.tasks["search"]
    share = min(1.0, items / len(task))
    chunk = _chunk_seconds(work, config, task, figures, mesh, share)
    generations = math.ceil(evaluations / population)
    turns = math.ceil(population / (groups * work.chunk)) * generations
    writes = any(isinstance(request, Generate) for request in work.requests["search"])
    long = " if answers are as long as they may be" if writes else ""
    return [
        first,
        f"by its arithmetic and memory alone, at least {_time(turns * chunk)} for "
        f"{generations * population} candidates × {items} items{long}; `evojax-merge plan` says "
        "more",
    ]


def _chunk_seconds(
    work: Workload, config: Any, task: BoundTask, figures: Figures, mesh: Mesh, share: float
) -> float:
    """The least time for a chunk of candidates: what they move and compute, nothing of it twice.

    Programs are traced as they will be for the search, which then finds that done.
    """
    itemsize, parts = itemsize_of(work), mesh.shape[MODEL]
    everywhere = NamedSharding(mesh, P())

    def there(leaf: Any) -> Any:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere)

    program: Any = work.merge
    counter = np.int32(work.chunk)
    merge = program.trace(work.buffer, work.materials, work.genotypes, counter)
    done = operations(merge.jaxpr, merging_turns(work.chunk)) / parts
    seconds = figures.seconds(merging_bytes(work), done, itemsize)
    for part, request, program in zip(
        tasks_of(task), work.requests["search"], work.programs["search"], strict=True
    ):
        for batch in part.batches:
            on_batch = work_of(request, batch, work.candidates.hops)
            traced = program.trace(work.buffer, work.shared, *jax.tree.map(there, tuple(batch)))
            counted = operations(traced.jaxpr, on_batch.turns) / parts
            moved = running_bytes(work, request, on_batch, config, batch, parts)
            seconds += share * figures.seconds(moved, counted, itemsize)
    return seconds


def _count(number: int) -> str:
    for unit, name in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return str(number)


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
