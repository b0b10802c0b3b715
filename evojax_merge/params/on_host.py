"""Arrays of devices on the host, of which no copy stays with them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils


def fetch(array: Any) -> np.ndarray:
    """An array on the host, wherever its parts are; all processes must ask for it together."""
    if not is_apart(array):
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def is_shared(leaf: Any) -> bool:
    """Whether a leaf lies on devices of several processes, in parts or as copies."""
    return isinstance(leaf, jax.Array) and not leaf.is_fully_addressable


def is_apart(leaf: Any) -> bool:
    """Whether no process holds the whole of a leaf, so that all must ask for it together."""
    return is_shared(leaf) and not leaf.is_fully_replicated


def numbers(leaf: Any, layer: int | None) -> np.ndarray:
    """A leaf, or one layer of it, on the host; whoever else holds parts of it must ask as well.

    A leaf that a process holds whole is read without the others.

    Args:
        leaf: An array, of which a layer is one index of the first axis.
        layer: The layer; None for the whole leaf.
    """
    if is_apart(leaf):
        return fetch(leaf if layer is None else leaf[layer])
    if is_shared(leaf):
        leaf = leaf.addressable_data(0)
    if layer is not None:
        leaf = (np.asarray(leaf) if _in_host_memory(leaf) else leaf)[layer]
    return np.asarray(jax.device_get(leaf))


def _in_host_memory(leaf: Any) -> bool:
    """Whether NumPy can look at a leaf without a copy, so that no program cuts layers out."""
    return not isinstance(leaf, jax.Array) or all(
        device.platform == "cpu" for device in leaf.devices()
    )


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
    if any(map(is_shared, jax.tree.leaves(leaf))) and not isinstance(leaf, jax.Array):
        return jax.tree.map(fetch, leaf)  # the factors of an adapter
    if is_on_host(leaf):
        return leaf
    if not layered:
        return fetch(jnp.copy(leaf))
    whole = np.empty(leaf.shape, leaf.dtype)
    for layer in range(len(whole)):
        whole[layer] = fetch(leaf[layer])
    return whole
