"""`statistics.row_ranks` of a tensor that lies on a GPU: the same ranks, counted there.

Integers are counted, in whatever order, and steps rounded in float64: the device makes no
difference, unless it takes subnormal numbers for zeros. Rows with too many different numbers in one
bin are sorted on the host.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import UInt8

from evojax_merge.operators.statistics import row_ranks as host
from evojax_merge.operators.statistics.on_device import turn
from evojax_merge.params.types import Array, Float

BINS = 2 * (int(host.LAST) + 1)
"""The number of bins of a row: for each of the host, one and another for numbers that have a bin
alone."""

AT_ONCE = 2**24
"""How many elements, or counts if those are more, the rows have that are ranked together."""


def row_ranks(magnitude: Float[Array, "rows elements"]) -> Array:
    """The ranks that `statistics.row_ranks.row_ranks` describes, on the device."""
    rows, width = magnitude.shape
    if width < host.NARROW:
        return jnp.asarray(host.row_ranks(np.asarray(magnitude)))
    block = host.block_rows(width)
    most = max(AT_ONCE // max(width, BINS) // block, 1) * block
    some = []
    for start in range(0, rows, most):
        with turn:
            some.append(jax.block_until_ready(_of_rows(magnitude[start : start + most])))
    return some[0] if len(some) == 1 else jnp.concatenate(some)


def sums_by_rank(
    magnitude: Float[Array, "..."], rank: UInt8[Array, "..."], squared: bool
) -> tuple[float, float]:
    """The sum of all magnitudes, or of their squares, and the same weighted by rank / 255."""
    with jax.enable_x64(True):
        plain, weighted = _sums_by_rank(magnitude, rank, squared)
        return float(plain), float(weighted) / host.STEPS


def _of_rows(magnitude: Array) -> Array:
    width = magnitude.shape[1]
    block = host.block_rows(width)
    alone = np.asarray(_alone_in_rows(magnitude), np.int64)
    starts = np.arange(0, len(alone), block)
    sizes = np.diff(starts, append=len(alone))
    split = np.add.reduceat(alone, starts) > host.RARE * sizes * width
    with jax.enable_x64(True):
        ranks, crowded = _count(magnitude, jnp.asarray(np.repeat(split, sizes)))
    (where,) = np.nonzero(np.asarray(crowded))
    if not len(where):
        return ranks
    # As many as the next power of two: few sizes, for each of which this is compiled.
    index = jnp.asarray(np.pad(where, (0, _next_power(len(where)) - len(where)), mode="edge"))
    return ranks.at[index].set(host.rank_by_sorting(np.asarray(magnitude[index])))


def _next_power(number: int) -> int:
    return 1 << (number - 1).bit_length()


@jax.jit
def _alone_in_rows(magnitude: Array) -> Array:
    _, alone = _keys(magnitude)
    return alone.sum(axis=1, dtype=jnp.int32)


@jax.jit
def _count(magnitude: Array, split: Array) -> tuple[Array, Array]:
    rows, width = magnitude.shape
    key, alone = _keys(magnitude)
    key = 2 * key + (alone & split[:, None]).astype(jnp.int32)
    row = lax.broadcasted_iota(jnp.int32, key.shape, 0)
    count = jnp.zeros((rows, BINS), jnp.int32).at[row, key].add(jnp.int32(1))
    standing = count - 2 * jnp.cumsum(count, axis=1, dtype=jnp.int32) + (2 * width - 1)
    steps = jnp.rint(standing.astype(jnp.float64) * (host.STEPS / (2 * (width - 1))))
    ranks = jnp.take_along_axis(steps.astype(jnp.uint8), key, axis=1)
    crowded = (count[:, ::2] > max(host.CROWDED * width, 1)).any(axis=1)
    return ranks, crowded


def _keys(magnitude: Array) -> tuple[Array, Any]:
    bits = lax.bitcast_convert_type(magnitude, jnp.uint32)
    leading = bits >> host.DROPPED
    key = jnp.minimum(leading.max(axis=1, keepdims=True) - leading, host.LAST)
    alone = ((leading << host.DROPPED) == bits) & ((key < host.LAST) | (bits == 0))
    return key.astype(jnp.int32), alone


@partial(jax.jit, static_argnums=2)
def _sums_by_rank(magnitude: Array, rank: Array, squared: bool) -> tuple[Array, Array]:
    terms = magnitude.astype(jnp.float64)
    terms = terms * terms if squared else terms
    return terms.sum(), (terms * rank.astype(jnp.float64)).sum()
