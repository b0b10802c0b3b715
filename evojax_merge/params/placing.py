"""The placing of arrays on the devices of all processes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from evojax_merge.params.on_host import is_shared
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


def zeros_beside(leaf: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Zeros that programs take together with a leaf.

    Args:
        leaf: The leaf. Where processes share it, zeros of its shape are split as it is, and others
            are whole on every device.
        shape: The shape of the zeros.
        dtype: Their dtype.
    """
    if not is_shared(leaf):
        return jnp.zeros(shape, dtype)
    assert isinstance(leaf.sharding, NamedSharding)
    whole = NamedSharding(leaf.sharding.mesh, PartitionSpec())
    return place(np.zeros(shape, dtype), leaf.sharding if leaf.shape == shape else whole)


def _place(leaf: Any, sharding: NamedSharding) -> Array:
    if is_shared(leaf):
        return jax.device_put(leaf, sharding)
    there = np.asarray(leaf)
    return jax.make_array_from_callback(there.shape, sharding, lambda index: there[index])
