"""The measuring of one model on one task, outside of any search."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.checkpoints import Model
from evojax_merge.fitness.base import BoundTask
from evojax_merge.fitness.several import tasks_of
from evojax_merge.models import Family
from evojax_merge.models.ability import Program
from evojax_merge.models.decoder.path import PATH, PATH_AXES
from evojax_merge.params.on_host import fetch, is_shared
from evojax_merge.params.types import Float, Params
from evojax_merge.sources.pool import Route


def measure(model: Model, task: BoundTask) -> tuple[Float[np.ndarray, " items"], list[np.ndarray]]:
    """The results of a model for each item, and what the task's program gave for each batch.

    Raises:
        ValueError: Models of this family cannot run the task.
    """
    layout = model.family.layout(model.config)
    axes = layout.unrolled_axes()

    @jax.jit
    def alone(params: Params) -> Params:  # one program, so that no other copy is held besides
        return jax.tree.map(jnp.expand_dims, layout.unroll(params), axes)

    programs = _programs(model.family, model.config, task, axes)
    return _measure(programs, alone(model.params), task)


def measure_route(
    route: Route, task: BoundTask
) -> tuple[Float[np.ndarray, " items"], list[np.ndarray]]:
    """What `measure` gives, for a path through a pool that is run as in a search."""
    pool, path = route
    alone = jax.tree.map(lambda leaf: leaf[None], path._replace(steps=jnp.int32(0)))
    params = {**pool.params, PATH: alone._replace(steps=path.steps)}
    axes = {**jax.tree.map(lambda leaf: None, pool.params), PATH: PATH_AXES}
    programs = _programs(pool.skeleton.family, pool.config, task, axes)
    return _measure(programs, params, task)


def _programs(family: Family, config: Any, task: BoundTask, axes: Any) -> list[Program]:
    """The program of each of the tasks that a task consists of, compiled when it is called."""
    found = []
    for request in (part.request for part in tasks_of(task)):
        ability = family.ability(request)
        program = ability.program(config, request, axes)
        found.append(program if ability.on_host else jax.jit(program))
    return found


def _measure(
    programs: Sequence[Program], params: Params, task: BoundTask
) -> tuple[Float[np.ndarray, " items"], list[np.ndarray]]:
    if not any(map(is_shared, jax.tree.leaves(params))):
        params = jax.device_put(params)
    outputs = [
        fetch(run(params, *batch))
        for run, part in zip(programs, tasks_of(task), strict=True)
        for batch in part.batches
    ]
    return task.score(outputs)[0], outputs
