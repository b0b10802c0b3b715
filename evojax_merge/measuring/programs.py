"""The programs that devices run: they merge candidates, stack given models, and run a task.

Population axes are spread over the ``pop`` axis of the mesh, each device or group of devices by
itself. How a group shares one candidate is left to the compiler, which knows where the parts of
parameters are (see `evojax_merge.models.split`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from evojax_merge.measuring.candidates import Candidates, MergeFn
from evojax_merge.models import Layout
from evojax_merge.models.split import MODEL, POP, placed, shardings
from evojax_merge.models.target import built_for
from evojax_merge.params.population import COMPILER_OPTIONS, fill
from evojax_merge.params.types import Array, Genotype, Params, Population


def laid_out(merge_fn: MergeFn, candidates: Candidates) -> MergeFn:
    """What merges a candidate, and lays it out as it is held."""

    def merge(materials: Any, genotype: Genotype) -> Any:
        return candidates.form(merge_fn(materials, genotype))

    return merge


def merging_program(
    merge_fn: MergeFn, candidates: Candidates, buffer: Any, mesh: Mesh
) -> Callable[..., Any]:
    """A program that merges a chunk of candidates a device, in the memory of the chunk before.

    Args:
        merge_fn: The pure function that makes the parameters of one candidate.
        candidates: How candidates are held.
        buffer: The shapes of all candidates that are held at a time, and where they are.
        mesh: The devices.
    """
    axes, own = candidates.axes, laid_out(merge_fn, candidates)
    specs = jax.tree.map(pop_spec, axes)
    whole = mesh.shape[MODEL] == 1

    def merge(buffer: Params, materials: Any, genotypes: Population, count: Any) -> Params:
        with built_for(mesh):
            return fill(
                buffer, axes, count, lambda index: own(materials, genotypes[index]), whole=whole
            )

    return jax.jit(
        _spread(merge, mesh, (specs, P(), P(POP), P()), specs),
        donate_argnums=0,
        keep_unused=True,
        compiler_options=merging_options(mesh),
        out_shardings=jax.tree.map(lambda leaf: leaf.sharding, buffer),
    )


def merging_options(mesh: Mesh) -> dict[str, str]:
    """The options of the compiler for a merge on the devices of a mesh.

    A TPU's compiler lets leaves of one shape share constants, such as zeros and the positions of
    elements, and cuts those as it cuts the first leaf. Where the next leaf is cut along another
    axis, as weights before and behind attention are, devices then send each other all of it. Where
    devices share a candidate, every leaf keeps its own constants.
    """
    if mesh.shape[MODEL] == 1 or mesh.devices.flat[0].platform != "tpu":
        return COMPILER_OPTIONS
    return {name: f"{passes},cse" for name, passes in COMPILER_OPTIONS.items()}


def stacking_program(candidates: Candidates, buffer: Any) -> Callable[[Sequence[Any]], Any]:
    """A program that lays out given models and stacks them, and holds no copy but the stack.

    Args:
        candidates: How candidates are held.
        buffer: The shapes of all candidates that are held at a time, and where they are.
    """

    def stack(models: Sequence[Any]) -> Any:
        laid = map(candidates.form, models)
        return jax.tree.map(lambda axis, *leaves: jnp.stack(leaves, axis), candidates.axes, *laid)

    return jax.jit(stack, out_shardings=jax.tree.map(lambda leaf: leaf.sharding, buffer))


def running_program(program: Callable[..., Array], candidates: Candidates, mesh: Mesh) -> Any:
    """A program that devices run on their own candidates, without waiting for the others."""
    specs = jax.tree.map(pop_spec, candidates.axes)

    def own(part: Any, shared: Any, *batch: Array) -> Array:
        with built_for(mesh):
            return program(candidates.params(part, shared), *batch)

    def run(part: Any, shared: Any, *batch: Array) -> Array:
        spread = _spread(own, mesh, (specs, P(), *(P() for _ in batch)), P(POP))
        return spread(part, shared, *batch)

    return jax.jit(run)


class HostProgram:
    """A program that the host carries out on candidates, without compiling anything.

    Args:
        program: The function (parameters, *fields of a batch, ``count``) -> outputs.
        candidates: How candidates are held.
    """

    def __init__(self, program: Callable[..., Any], candidates: Candidates) -> None:
        self._program, self._candidates = program, candidates

    def __call__(self, part: Any, shared: Any, *batch: Any, count: int | None = None) -> Any:
        """What the program gives for the first ``count`` candidates; by default, for all."""
        return self._program(self._candidates.params(part, shared), *batch, count=count)


def population_shapes(candidate: Any, axes: Any, count: int, mesh: Mesh, layout: Layout) -> Any:
    """The shapes of the parameters of ``count`` candidates, spread over the mesh."""
    together = jax.tree.map(
        lambda leaf, axis: jax.ShapeDtypeStruct(
            (*leaf.shape[:axis], count, *leaf.shape[axis:]), leaf.dtype
        ),
        candidate,
        axes,
    )
    return placed(together, shardings(together, layout, mesh, axes))


def allocate(shapes: Any) -> Any:
    """Memory for the candidates of such shapes."""

    def zeros() -> Params:
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    return jax.jit(zeros, out_shardings=jax.tree.map(lambda leaf: leaf.sharding, shapes))()


def pop_spec(axis: int) -> P:
    """The way that a leaf with the axis of a population is spread over the mesh."""
    return P(*(None,) * axis, POP)


def _spread(fn: Callable[..., Any], mesh: Mesh, in_specs: Any, out_specs: Any) -> Any:
    """The function on the part of each device, or of each group that shares a candidate."""
    apart = {POP} if mesh.shape[MODEL] > 1 else set(mesh.axis_names)
    return jax.shard_map(
        fn,
        mesh=mesh,
        in_specs=in_specs,
        out_specs=out_specs,
        axis_names=apart,
        check_vma=False,
    )
