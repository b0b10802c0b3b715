"""Order statistics of whole tensors, for tables that are made once so that no candidate sorts.

On the host they are selected (`evojax_merge.operators.radix`), on a GPU the device's own sort is
used; a small tensor is sorted.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.operators.nesting import first_cut, sums_in
from evojax_merge.operators.ordering import ALL, Cuts, cuts_at, rank, words
from evojax_merge.operators.radix import radix_select

SMALL = 2**16
"""A tensor of fewer elements is sorted."""


class Selection(NamedTuple):
    """`Cuts` for many counts, and sums over what they hold.

    Attributes:
        threshold: float32, by count.
        cutoff: uint32, by count.
        sums: float64, ``[weights, counts]``: the sum of each weight over the c greatest.
    """

    threshold: np.ndarray
    cutoff: np.ndarray
    sums: np.ndarray


def select(values: np.ndarray, counts: np.ndarray, weights: Sequence[np.ndarray] = ()) -> Selection:
    """Find the c-th greatest number for every count.

    Args:
        values: float32 ``[n]``, none negative, none NaN.
        counts: Integers from 0 to n, in any order.
        weights: Arrays like ``values``, to be summed over the c greatest of them.
    """
    wanted, position = np.unique(np.asarray(counts, np.int64), return_inverse=True)
    values = np.ascontiguousarray(values)
    zero = np.count_nonzero(wanted == 0)
    found = _method(values)(values, wanted[zero:])
    cuts = Cuts(
        np.r_[np.full(zero, np.inf, np.float32), found.threshold],
        np.r_[np.zeros(zero, np.uint32), found.cutoff],
    )
    sums = np.zeros((0, len(wanted)))
    if weights:
        sums = sums_in(cuts, first_cut(values, cuts), weights)
    return Selection(cuts.threshold[position], cuts.cutoff[position], sums[:, position])


def _method(values: np.ndarray) -> Callable[[np.ndarray, np.ndarray], Cuts]:
    if values.size < SMALL:
        return sort
    return sort_on_device if jax.default_backend() == "gpu" else radix_select


def sort(values: np.ndarray, counts: np.ndarray) -> Cuts:
    """As `radix_select`, for a small tensor."""
    ordered = words(values.view(np.uint32), np.arange(values.size, dtype=np.uint32))
    ordered.sort()
    return cuts_at(ordered, counts - 1)


def sort_on_device(values: np.ndarray, counts: np.ndarray) -> Cuts:
    """As `radix_select`, by the sort of JAX's default device."""
    order = ~jnp.asarray(values).view(jnp.uint32)
    ranks = rank(jnp.arange(values.size, dtype=jnp.uint32))
    order, ranks = jax.lax.sort((order, ranks), num_keys=2)
    last = jnp.asarray(counts - 1)
    following = jnp.minimum(last + 1, values.size - 1)
    equal = (following > last) & (order[following] == order[last])
    cutoff = jnp.where(equal, ranks[last], ALL)
    return Cuts((~np.asarray(order[last])).view(np.float32), np.asarray(cutoff))
