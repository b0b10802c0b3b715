"""Arrays of devices on the host, of which no copy stays with them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils


def fetch(array: Any) -> np.ndarray:
    """An array on the host, wherever its parts are; all processes must ask for it together."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def is_on_host(leaf: Any) -> bool:
    """Whether the host reads a leaf where it stands, as a processor's own arrays."""
    if not isinstance(leaf, jax.Array):
        return True
    return {device.platform for device in leaf.devices()} == {"cpu"} and len(leaf.devices()) == 1


def on_host(leaf: Any, layered: bool) -> Any:
    """A leaf for the host to read again and again; what it can read already stays as it is.

    JAX keeps what is read of an array with it, so that after a pass over a model the host would
    hold all of it. What this returns is held by the caller alone.

    Args:
        leaf: An array, or what is none. All processes must ask together for one that they share.
        layered: Whether its first axis counts layers, which are fetched one after another.
    """
    if is_on_host(leaf):
        return leaf
    if not layered:
        return fetch(jnp.copy(leaf))
    whole = np.empty(leaf.shape, leaf.dtype)
    for layer in range(len(whole)):
        whole[layer] = fetch(leaf[layer])
    return whole
