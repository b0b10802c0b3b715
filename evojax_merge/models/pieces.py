"""A function of many rows, computed on a few of them at a time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from evojax_merge.params.types import Array


def in_pieces(function: Callable[[Array], Array], inputs: Array, rows: int | None) -> Array:
    """Apply a function to all rows of its input, of which it reads a few at a time.

    The last piece overlaps the one before, so that all are of one size and nothing is copied.

    Args:
        function: A function whose result has a row for each row of its input.
        inputs: The input.
        rows: How many rows are read at a time. With None all are read at once.
    """
    count = len(inputs)
    if rows is None or rows >= count:
        return function(inputs)
    shape = jax.eval_shape(function, inputs[:rows])

    def step(found: Array, first: Array) -> tuple[Array, None]:
        piece = function(jax.lax.dynamic_slice_in_dim(inputs, first, rows))
        return jax.lax.dynamic_update_slice_in_dim(found, piece, first, 0), None

    starts = jnp.minimum(jnp.arange(0, count, rows), count - rows)
    empty = jnp.zeros((count, *shape.shape[1:]), shape.dtype)
    return jax.lax.scan(step, empty, starts)[0]
