"""One model on one task, outside of any search."""

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.checkpoints import Model
from evojax_merge.fitness.base import BoundTask
from evojax_merge.inference.programs import make_program
from evojax_merge.population import population_axes
from evojax_merge.types import Float


def measure(model: Model, task: BoundTask) -> tuple[Float[np.ndarray, "items"], list[np.ndarray]]:
    """Per-item results of a model, and what the task's program gave for each batch.

    Raises:
        ValueError: Models of this family cannot run the task.
    """
    program = jax.jit(make_program(model.family, model.config, task))
    axes = population_axes(model.params)
    alone = jax.tree.map(lambda leaf, axis: jnp.expand_dims(leaf, axis), model.params, axes)
    outputs = [np.asarray(program(alone, *batch)) for batch in task.batches]
    return task.score(outputs)[0], outputs
