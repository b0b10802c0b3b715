"""One model on one task, outside of any search."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.checkpoints import Model
from evojax_merge.fitness.base import BoundTask
from evojax_merge.fitness.several import tasks_of
from evojax_merge.inference.programs import Program, make_program
from evojax_merge.models.decoder.path import PATH, PATH_AXES
from evojax_merge.pool import Route
from evojax_merge.population import population_axes
from evojax_merge.types import Float, Params


def measure(model: Model, task: BoundTask) -> tuple[Float[np.ndarray, "items"], list[np.ndarray]]:
    """Per-item results of a model, and what the task's program gave for each batch.

    Raises:
        ValueError: Models of this family cannot run the task.
    """
    axes = population_axes(model.params)
    alone = jax.tree.map(lambda leaf, axis: jnp.expand_dims(leaf, axis), model.params, axes)
    programs = [make_program(model.family, model.config, part) for part in tasks_of(task)]
    return _measure(programs, alone, task)


def measure_route(
    route: Route, task: BoundTask
) -> tuple[Float[np.ndarray, "items"], list[np.ndarray]]:
    """The same of a path through a pool, run as in a search."""
    pool, path = route
    alone = jax.tree.map(lambda leaf: leaf[None], path._replace(steps=jnp.int32(0)))
    params = {**pool.params, PATH: alone._replace(steps=path.steps)}
    axes = {**jax.tree.map(lambda leaf: None, pool.params), PATH: PATH_AXES}
    programs = [
        make_program(pool.skeleton.family, pool.config, part, axes) for part in tasks_of(task)
    ]
    return _measure(programs, params, task)


def _measure(
    programs: Sequence[Program], params: Params, task: BoundTask
) -> tuple[Float[np.ndarray, "items"], list[np.ndarray]]:
    params = jax.device_put(params)
    outputs = [
        np.asarray(run(params, *batch))
        for run, part in zip(map(jax.jit, programs), tasks_of(task), strict=True)
        for batch in part.batches
    ]
    return task.score(outputs)[0], outputs
