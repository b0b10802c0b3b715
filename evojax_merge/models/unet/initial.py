"""Random parameters for a table of shapes."""

import functools
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from evojax_merge.models.unet.shapes import Shape
from evojax_merge.params.tree import unflatten
from evojax_merge.params.types import Array, Float, Int, Params, PRNGKey

_MOST = 2**30
"""How many numbers are drawn at once, so that the place of each has 32 bits."""


def draw(shapes: Mapping[str, Shape], key: PRNGKey) -> Params:
    """Draw weights uniformly within 1/√inputs, as torch does; norms are 1, biases 0.

    Numbers are drawn for many leaves at once and then cut up, since compiling a draw for each shape
    takes longer.

    Args:
        shapes: The shape of each leaf, by path. Those of ``transformer_blocks`` are stacked.
        key: The source of all numbers.
    """
    drawn = _pools(shapes)
    leaves = {
        path: jnp.full(shape, float(path.endswith(".weight"))) for path, shape in shapes.items()
    }
    for paths, own in zip(drawn, jax.random.split(key, len(drawn)), strict=True):
        count = sum(math.prod(shapes[path]) for path in paths)
        numbers = jax.random.uniform(own, (count,), minval=-1)
        first = 0
        for path in paths:
            shape = shapes[path]
            bound = 1 / math.sqrt(_inputs(path, shape) or 1)
            leaves[path] = _cut(numbers, jnp.int32(first), jnp.float32(bound), shape)
            first += math.prod(shape)
    return unflatten(leaves)


def _pools(shapes: Mapping[str, Shape]) -> list[list[str]]:
    """Divide the weights into parts that are drawn at once."""
    pools: list[list[str]] = [[]]
    room = _MOST
    for path, shape in shapes.items():
        if _inputs(path, shape) is None:
            continue
        if pools[-1] and math.prod(shape) > room:
            pools.append([])
            room = _MOST
        pools[-1].append(path)
        room -= math.prod(shape)
    return pools


@functools.partial(jax.jit, static_argnums=3)
def _cut(
    numbers: Float[Array, " numbers"], first: Int[Array, ""], bound: Float[Array, ""], shape: Shape
) -> Float[Array, "..."]:
    return bound * jax.lax.dynamic_slice(numbers, (first,), (math.prod(shape),)).reshape(shape)


def _inputs(path: str, shape: Shape) -> int | None:
    """Count the inputs of a weight. A bias and a norm have none."""
    own = shape[1:] if ".transformer_blocks." in path else shape
    return math.prod(own[1:]) if len(own) > 1 else None
