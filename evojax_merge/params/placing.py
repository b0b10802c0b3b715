"""The placing of arrays on the devices of all processes."""

from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from evojax_merge.params.types import Array


def place(tree: Any, shardings: Any) -> Any:
    """The arrays of a tree where they are to be.

    Every process holds the same arrays, and gives its devices their parts of them. JAX would send
    each array over the network instead, to make sure that it is the same everywhere.

    Args:
        tree: The arrays. Those that all processes share already are moved where it is needed.
        shardings: The place of each.
    """
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)
    return jax.tree.map(_place, tree, shardings)


def _place(leaf: Any, sharding: NamedSharding) -> Array:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    there = np.asarray(leaf)
    return jax.make_array_from_callback(there.shape, sharding, lambda index: there[index])
