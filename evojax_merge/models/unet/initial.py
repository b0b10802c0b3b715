"""Random parameters for a table of shapes."""

import functools
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from evojax_merge.models.unet.shapes import Shape
from evojax_merge.params.tree import unflatten
from evojax_merge.params.types import Array, Params, PRNGKey


def draw(shapes: Mapping[str, Shape], key: PRNGKey) -> Params:
    """Draw weights uniformly within 1/√inputs, as torch does; norms are 1, biases 0.

    Args:
        shapes: The shape of each leaf, by path. Those of ``transformer_blocks`` are stacked.
        key: The source of all numbers.
    """
    return unflatten(_draw(tuple(shapes.items()), key))


@functools.partial(jax.jit, static_argnums=0)
def _draw(shapes: tuple[tuple[str, Shape], ...], key: PRNGKey) -> dict[str, Array]:
    """Draw all leaves at once, which compiles faster than a draw for each."""
    drawn = [(path, shape) for path, shape in shapes if _inputs(path, shape) is not None]
    flat = jax.random.uniform(key, (sum(math.prod(shape) for _, shape in drawn),), minval=-1)
    found, first = {}, 0
    for path, shape in shapes:
        inputs = _inputs(path, shape)
        if inputs is None:
            found[path] = jnp.full(shape, float(path.endswith(".weight")))
            continue
        last = first + math.prod(shape)
        found[path] = flat[first:last].reshape(shape) / math.sqrt(inputs)
        first = last
    return found


def _inputs(path: str, shape: Shape) -> int | None:
    """Count the inputs of a weight. A bias and a norm have none."""
    own = shape[1:] if ".transformer_blocks." in path else shape
    return math.prod(own[1:]) if len(own) > 1 else None
