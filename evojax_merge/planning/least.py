"""The least that a search puts on each device, by arithmetic alone."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from evojax_merge.fitness.several import tasks_of
from evojax_merge.measuring.candidates import whole_models
from evojax_merge.measuring.programs import laid_out
from evojax_merge.models.split import MODEL, bytes_per_device, check_split, placed, shardings


def least_bytes(outlined: Any, mesh: Mesh) -> float:
    """Count the bytes of what is merged, of one candidate, and of the least that it is asked.

    Args:
        outlined: What a search gives its devices, see `evojax_merge.planning.outline.Outlined`.
        mesh: The devices.

    Raises:
        ValueError: A model cannot be split so.
    """
    family, config, parts = outlined.family, outlined.config, mesh.shape[MODEL]
    layout = family.layout(config)
    check_split(layout, parts)

    def here(tree: Any) -> Any:
        return placed(tree, shardings(tree, layout, mesh))

    candidates = outlined.candidates or whole_models(layout)
    genotype = jax.ShapeDtypeStruct((outlined.dims,), jnp.float32)
    merged = laid_out(outlined.merge_fn, candidates)
    candidate = here(jax.eval_shape(merged, outlined.materials, genotype))
    shared = here(outlined.shared)
    itemsize = max(leaf.dtype.itemsize for leaf in jax.tree.leaves((candidate, shared)))
    work = max(
        _least_work(family, config, part, itemsize, candidates.hops)
        for task in outlined.tasks.values()
        for part in tasks_of(task)
    )
    beside = (candidates.copied + work) / parts
    return bytes_per_device((here(outlined.materials), shared, candidate)) + beside


def _least_work(family: Any, config: Any, task: Any, itemsize: int, hops: int | None) -> int:
    request = task.request
    ability = family.ability(request)
    while True:
        most = max(ability.bytes(config, request, b, itemsize, hops) for b in task.batches)
        smaller = ability.smaller(request, task.batches)
        if smaller is None or smaller == request:
            return most
        request = smaller
