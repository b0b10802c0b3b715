"""What fits into the memory of a device: how many candidates, and what each is asked at a time."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from evojax_merge.fitness.base import BoundTask
from evojax_merge.fitness.several import tasks_of
from evojax_merge.measuring.candidates import Candidates
from evojax_merge.measuring.device_memory import OVERSTATED, Memory, is_lack_of_memory
from evojax_merge.measuring.programs import population_shapes, running_program
from evojax_merge.models import Family
from evojax_merge.models.request import Request
from evojax_merge.models.split import MODEL, POP, bytes_per_device


class Plan(NamedTuple):
    """What a device is given.

    Attributes:
        candidates: How many candidates it holds at a time.
        requests: What each is asked, by split, for each of the tasks that a split consists of.
    """

    candidates: int
    requests: dict[str, list[Request]]


def plan(
    family: Family,
    config: Any,
    candidates: Candidates,
    candidate: Any,
    shared: Any,
    tasks: Mapping[str, BoundTask],
    mesh: Mesh,
    memory: Memory,
) -> Plan:
    """Plan what fits.

    Args:
        family: The family of all models.
        config: The configuration of the models.
        candidates: How candidates are held.
        candidate: The shapes of one, and where its parts are.
        shared: The shapes of the parameters that all have in common, and where they are.
        tasks: The bound task of each split.
        mesh: The devices.
        memory: What each device has free.

    Raises:
        ValueError: A path of the greatest length does not fit.
    """
    parts = mesh.shape[MODEL]
    model = candidates.copied // parts + bytes_per_device(candidate)
    layout = family.layout(config)
    itemsize = max(leaf.dtype.itemsize for leaf in jax.tree.leaves((candidate, shared)))

    def bytes_of(task: BoundTask, request: Request, hops: int | None) -> int:
        ability = family.ability(request)
        most = max(ability.bytes(config, request, b, itemsize, hops) for b in task.batches)
        return -(-most // parts)

    def compiled_bytes(task: BoundTask, request: Request) -> float:
        """What the compiler says that one candidate's program takes on the largest batch."""
        ability, axes = family.ability(request), candidates.axes
        largest = max(task.batches, key=lambda b: ability.bytes(config, request, b, itemsize, hops))
        program = ability.program(config, request, candidates.param_axes)
        alone = population_shapes(candidate, axes, mesh.shape[POP], mesh, layout)
        run = running_program(program, candidates, mesh)
        try:
            found = run.lower(alone, shared, *largest).compile().memory_analysis()
        except jax.errors.JaxRuntimeError as error:  # as a TPU's compiler refuses a program
            if not is_lack_of_memory(error):
                raise
            return math.inf
        return math.inf if found is None else found.temp_size_in_bytes

    def fitted(task: BoundTask) -> Request:
        """The task's request, or one for the same outputs that fits into memory.

        What abilities tell may be too much. Where that decides, the compiler is asked, but for
        paths, of which what is told says how long they may be.
        """
        request = task.request
        while (told := bytes_of(task, request, hops)) > room:
            asked = hops is None and told < OVERSTATED * room
            if asked and compiled_bytes(task, request) <= exact_room:
                break
            smaller = family.ability(request).smaller(request, task.batches)
            if smaller is None:
                break
            request = smaller
        return request

    hops = candidates.hops
    room, exact_room = memory.room_for_work(model), memory.room - model
    requests = {name: [fitted(part) for part in tasks_of(task)] for name, task in tasks.items()}

    def work(hops: int | None) -> int:
        return max(
            bytes_of(part, request, hops)
            for name, task in tasks.items()
            for part, request in zip(tasks_of(task), requests[name], strict=True)
        )

    if hops is not None and (most := memory.longest(model, work, hops)) < hops:
        raise ValueError(
            f"paths may have {hops} hops, and the memory of a device holds the keys and values "
            f"of {most}; set space.max_hops={most}, or shorten prompts and answers"
        )
    return Plan(memory.candidates(model, work(hops)), requests)
