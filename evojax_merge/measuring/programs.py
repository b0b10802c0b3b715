"""The programs that devices run: they merge candidates, stack given models, and run a task.

Population axes are spread over the ``pop`` axis of the mesh.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from evojax_merge.measuring.candidates import Candidates, MergeFn
from evojax_merge.params.population import COMPILER_OPTIONS, fill
from evojax_merge.params.types import Array, Genotype, Params, Population


def laid_out(merge_fn: MergeFn, candidates: Candidates) -> MergeFn:
    """What merges a candidate, and lays it out as it is held."""

    def merge(materials: Any, genotype: Genotype) -> Any:
        return candidates.form(merge_fn(materials, genotype))

    return merge


def merging_program(merge_fn: MergeFn, candidates: Candidates, mesh: Mesh) -> Callable[..., Any]:
    """A program that merges a chunk of candidates a device, in the memory of the chunk before."""
    axes, own = candidates.axes, laid_out(merge_fn, candidates)
    specs = jax.tree.map(pop_spec, axes)

    def merge(buffer: Params, materials: Any, genotypes: Population, count: Any) -> Params:
        return fill(buffer, axes, count, lambda index: own(materials, genotypes[index]))

    spread = jax.shard_map(
        merge, mesh=mesh, in_specs=(specs, P(), P("pop"), P()), out_specs=specs, check_vma=False
    )
    return jax.jit(spread, donate_argnums=0, keep_unused=True, compiler_options=COMPILER_OPTIONS)


def stacking_program(candidates: Candidates) -> Callable[[Sequence[Any]], Any]:
    """A program that lays out given models and stacks them, and holds no copy but the stack."""

    def stack(models: Sequence[Any]) -> Any:
        laid = map(candidates.form, models)
        return jax.tree.map(lambda axis, *leaves: jnp.stack(leaves, axis), candidates.axes, *laid)

    return jax.jit(stack)


def running_program(program: Callable[..., Array], candidates: Candidates, mesh: Mesh) -> Any:
    """A program that each device runs on its own candidates, without waiting for the others."""
    specs = jax.tree.map(pop_spec, candidates.axes)

    def own(part: Any, shared: Any, *batch: Array) -> Array:
        return program(candidates.params(part, shared), *batch)

    def run(part: Any, shared: Any, *batch: Array) -> Array:
        return jax.shard_map(
            own,
            mesh=mesh,
            in_specs=(specs, P(), *(P() for _ in batch)),
            out_specs=P("pop"),
            check_vma=False,
        )(part, shared, *batch)

    return jax.jit(run)


def population_shapes(candidate: Any, axes: Any, count: int, mesh: Mesh) -> Any:
    """The shapes of the parameters of ``count`` candidates, spread over the mesh."""
    return jax.tree.map(
        lambda leaf, axis: jax.ShapeDtypeStruct(
            (*leaf.shape[:axis], count, *leaf.shape[axis:]),
            leaf.dtype,
            sharding=NamedSharding(mesh, pop_spec(axis)),
        ),
        candidate,
        axes,
    )


def allocate(shapes: Any) -> Any:
    """Memory for the candidates of such shapes."""

    def zeros() -> Params:
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    return jax.jit(zeros, out_shardings=jax.tree.map(lambda leaf: leaf.sharding, shapes))()


def pop_spec(axis: int) -> P:
    """The way that a leaf with the axis of a population is spread over the mesh."""
    return P(*(None,) * axis, "pop")
