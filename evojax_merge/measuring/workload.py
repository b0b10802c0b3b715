"""What the devices of a search hold and run, which is known from shapes alone."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from evojax_merge.fitness.base import BoundTask
from evojax_merge.fitness.several import tasks_of
from evojax_merge.measuring.candidates import Candidates, MergeFn, whole_models
from evojax_merge.measuring.device_memory import Memory, is_held_alone
from evojax_merge.measuring.fitting import plan
from evojax_merge.measuring.programs import (
    HostProgram,
    laid_out,
    merging_program,
    population_shapes,
    running_program,
    stacking_program,
)
from evojax_merge.models import Family
from evojax_merge.models.request import Request
from evojax_merge.models.split import MODEL, POP, check_split, placed, shardings
from evojax_merge.models.target import built_for


class Workload(NamedTuple):
    """What the devices of a search hold and run.

    Attributes:
        chunk: How many candidates a device holds at a time.
        candidates: How candidates are held.
        materials: The shapes of what is merged, and where it is.
        shared: The shapes of what all candidates have in common, and where it is.
        buffer: The shapes of all candidates that are held at a time, and where they are.
        genotypes: The shape of their genotypes.
        merge: The program ``(buffer, materials, genotypes, count)`` that merges them.
        stack: The program ``(models)`` that lays out as many given models as candidates.
        requests: What each candidate is asked, by split, for each of the tasks that a split
            consists of.
        programs: The programs ``(buffer, shared, *batch)`` that run those requests.
    """

    chunk: int
    candidates: Candidates
    materials: Any
    shared: Any
    buffer: Any
    genotypes: jax.ShapeDtypeStruct
    merge: Callable[..., Any]
    stack: Callable[..., Any]
    requests: dict[str, list[Request]]
    programs: dict[str, list[Any]]

    @property
    def on_host(self) -> bool:
        """Whether the host carries out one of the programs, on one candidate after another."""
        return any(isinstance(one, HostProgram) for own in self.programs.values() for one in own)

    @property
    def parameters(self) -> int:
        """How many parameters a candidate has, with those that all candidates share."""
        together = self.genotypes.shape[0]
        own = sum(math.prod(leaf.shape) for leaf in _numbers(self.buffer)) // together
        return own + sum(math.prod(leaf.shape) for leaf in _numbers(self.shared))

    @property
    def dtype(self) -> np.dtype:
        """The dtype of most of them."""
        leaves = [*_numbers(self.buffer), *_numbers(self.shared)]
        return np.dtype(max(leaves, key=lambda leaf: math.prod(leaf.shape)).dtype)


def _numbers(tree: Any) -> list[Any]:
    """The leaves that are parameters, and not the layers of a path."""
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]


def workload(
    family: Family,
    config: Any,
    merge_fn: MergeFn,
    materials: Any,
    tasks: Mapping[str, BoundTask],
    *,
    mesh: Mesh,
    memory: Memory,
    dims: int,
    population_size: int,
    chunk: int | None = None,
    shared: Any = (),
    candidates: Candidates | None = None,
) -> Workload:
    """Say what the devices hold and run; nothing is allocated or computed.

    Args:
        family: The family of all models.
        config: The configuration of the models.
        merge_fn: The pure function that makes the parameters of one candidate, see `MergeFn`.
        materials: What ``merge_fn`` merges, or its shapes.
        tasks: The bound task of each split.
        mesh: The devices, which need not be there.
        memory: What each of them has free once ``materials`` and ``shared`` lie there.
        dims: The length of a genotype.
        population_size: The number of candidates in a generation.
        chunk: How many candidates are on a device at a time; by default, as many as memory holds.
        shared: The parameters that all candidates have in common, or their shapes.
        candidates: How parameters are put together; by default, as `whole_models` says.

    Raises:
        ValueError: The models cannot be split so, or a path of the greatest length does not fit.
    """
    layout = family.layout(config)
    check_split(layout, mesh.shape[MODEL])
    candidates = candidates or whole_models(layout)
    materials = placed(materials, shardings(materials, layout, mesh))
    shared = placed(shared, shardings(shared, layout, mesh))
    devices = mesh.shape[POP]
    genotype = jax.ShapeDtypeStruct((dims,), jnp.float32)
    candidate = jax.eval_shape(laid_out(merge_fn, candidates), materials, genotype)
    candidate = placed(candidate, shardings(candidate, layout, mesh))
    share = -(-population_size // devices)
    asked = [part.request for task in tasks.values() for part in tasks_of(task)]
    one_by_one = any(family.ability(request).one_by_one for request in asked)
    if one_by_one or is_held_alone(memory.platform, candidate, candidates.hops is not None):
        share = 1
    with built_for(mesh):
        planned = plan(family, config, candidates, candidate, shared, tasks, mesh, memory)
    chunk = chunk or min(share, planned.candidates)
    buffer = population_shapes(candidate, candidates.axes, chunk * devices, mesh, layout)
    every = jax.ShapeDtypeStruct((chunk * devices, dims), jnp.float32)
    return Workload(
        chunk=chunk,
        candidates=candidates,
        materials=materials,
        shared=shared,
        buffer=buffer,
        genotypes=placed(every, shardings(every, layout, mesh, 0)),
        merge=merging_program(merge_fn, candidates, buffer, mesh),
        stack=stacking_program(candidates, buffer),
        requests=planned.requests,
        programs={
            name: [_running(family, config, request, candidates, mesh) for request in own]
            for name, own in planned.requests.items()
        },
    )


def _running(
    family: Family, config: Any, request: Request, candidates: Candidates, mesh: Mesh
) -> Any:
    """The program that candidates are run by."""
    ability = family.ability(request)
    program = ability.program(config, request, candidates.param_axes)
    if ability.on_host:
        return HostProgram(program, candidates)
    return running_program(program, candidates, mesh)
