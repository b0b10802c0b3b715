"""Statistics of leaves that several processes compute by turns, and tell each other."""

import collections
import functools
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes  # noqa: F401  (NumPy knows bfloat16 by its name then)
import numpy as np
from jax.experimental import multihost_utils

from evojax_merge import hosts

PIECE = 2**26
"""The bytes that are told at a time, which every device holds meanwhile."""


def dealt(
    paths: Sequence[str],
    given: Callable[[str], Any],
    init: Callable[[str, Any], Any],
    structure: Callable[[str], Any],
) -> dict[str, Any]:
    """Compute the statistics of every leaf in one of the processes each.

    Args:
        paths: The paths of the leaves, in the same order in every process.
        given: The function from a path to what ``init`` takes. All processes call it in turn, as a
            leaf may lie on the devices of several.
        init: The function that computes the statistics of a leaf from that.
        structure: The function from a path to a tree with the structure of its statistics.

    Returns:
        The statistics by path, the same in every process.
    """
    count, own = jax.process_count(), jax.process_index()
    (device,) = jnp.zeros(()).devices()

    def compute(path: str, taken: Any) -> list[np.ndarray]:
        with jax.default_device(device):
            return [np.asarray(leaf) for leaf in jax.tree.leaves(init(path, taken))]

    running: dict[str, Future[list[np.ndarray]]] = {}
    with ThreadPoolExecutor(max_workers=1) as apart:  # while leaves of others are fetched
        for index, path in enumerate(paths):
            taken = given(path)
            if index % count == own:
                if running:  # so that no more than two leaves are held
                    collections.deque(running.values(), maxlen=1)[0].result()
                running[path] = apart.submit(compute, path, taken)
        found = {path: future.result() for path, future in running.items()}
    shapes = {path: [(leaf.dtype.name, leaf.shape) for leaf in found[path]] for path in found}
    every = {path: told for one in hosts.gather(shapes) for path, told in one.items()}
    statistics = {}
    for index, path in enumerate(paths):
        tell = functools.partial(_told, index % count == own)
        leaves = [
            tell(found[path][place] if path in found else None, np.dtype(dtype), tuple(shape))
            for place, (dtype, shape) in enumerate(every[path])
        ]
        statistics[path] = jax.tree.unflatten(
            jax.tree.structure(structure(path)), map(jax.device_put, leaves)
        )
    return statistics


def _told(
    is_source: bool, array: np.ndarray | None, dtype: np.dtype, shape: tuple[int, ...]
) -> np.ndarray:
    """An array of the process that has it, in all of them, byte by byte."""
    told = np.zeros(math.prod(shape) * dtype.itemsize, np.uint8)
    if array is not None:
        told[:] = np.frombuffer(array.tobytes(), np.uint8)
    for first in range(0, told.size, PIECE):
        part = told[first : first + PIECE]
        part[:] = multihost_utils.broadcast_one_to_all(part, is_source=is_source)
    return told.view(dtype).reshape(shape)
