"""Inner products of large tensors: one compiled pass reads each once, and sums in float64.

NumPy would take three or four passes over memory for each product, between which threads wait for
the interpreter's lock, so that two of them are no faster than one.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from evojax_merge.operators.statistics.numbers import programs_here
from evojax_merge.operators.statistics.windows import ALIGNMENT, window
from evojax_merge.params.types import Array

COUNT = 2**19
"""How many elements a window has."""

LANES = 2**12
"""How many sums grow side by side; they stay near the processor."""

LEAST = COUNT + ALIGNMENT
"""The number of elements of the smallest tensor for which a pass is worth its call."""


def inner_products(origin: Any, vectors: Sequence[Any]) -> np.ndarray:
    """Inner products of every two vectors, ``[vectors, vectors]`` in float64, without a remainder.

    Differences to the origin are rounded to float32, as in a merge; products are exact.

    Args:
        origin: The vector that is subtracted from every other, or None.
        vectors: Tensors of one axis, in memory or on disk. Each has as many elements as the origin,
            at least `LEAST`; the last ones beyond a multiple of `LANES` are left out.
    """
    tensors = [*vectors] if origin is None else [origin, *vectors]
    rows = tensors[0].shape[0] // LANES
    above = np.triu_indices(len(vectors))
    total = np.zeros(len(above[0]))
    with programs_here():
        for first in range(0, rows, COUNT // LANES):
            windows = [window(tensor, first * LANES, COUNT) for tensor in tensors]
            held = [_bits(part.held) for part in windows]
            skips = np.array([part.skip for part in windows], np.int32)
            count = np.int32(min(COUNT // LANES, rows - first))
            sums = _products(held, skips, count, origin is not None)
            total += [np.asarray(lanes).sum() for lanes in sums]
    products = np.zeros((len(vectors),) * 2)
    products[above] = total
    return products + np.triu(products, 1).T


@partial(jax.jit, static_argnums=3)
def _products(held: Sequence[Array], skips: Array, rows: Array, based: bool) -> tuple[Array, ...]:
    vectors = len(held) - based
    pairs = list(zip(*np.triu_indices(vectors), strict=True))

    def add(row: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        parts = [
            _float32(lax.dynamic_slice(tensor, (skip + row * LANES,), (LANES,)))
            for tensor, skip in zip(held, skips, strict=True)
        ]
        if based:
            parts = [part - parts[0] for part in parts[1:]]
        wide = [part.astype(jnp.float64) for part in parts]
        return tuple(total + wide[i] * wide[j] for total, (i, j) in zip(sums, pairs, strict=True))

    nothing = jnp.zeros(LANES, jnp.float64)
    return lax.fori_loop(0, rows, add, (nothing,) * len(pairs))


def _bits(held: np.ndarray) -> np.ndarray:
    """The numbers as integers where the compiler's own conversion would take thrice as long."""
    return held.view(np.uint16) if held.dtype == jnp.bfloat16 else held


def _float32(part: Array) -> Array:
    if part.dtype == jnp.uint16:
        return lax.bitcast_convert_type(part.astype(jnp.uint32) << 16, jnp.float32)
    return part.astype(jnp.float32)
