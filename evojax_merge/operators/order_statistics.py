"""Order statistics of whole tensors, for tables that are made once so that no candidate sorts.

On the host they are selected (`evojax_merge.operators.radix`), on a GPU the device sorts
(`evojax_merge.operators.on_device`); a small tensor is sorted on the host.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.operators import on_device
from evojax_merge.operators.nesting import first_cut, sums_in
from evojax_merge.operators.ordering import Cuts, cuts_at, words
from evojax_merge.operators.radix import radix_select
from evojax_merge.types import Array


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


def select(
    values: np.ndarray | Array, counts: np.ndarray, weights: Sequence[Any] = ()
) -> Selection:
    """Find the c-th greatest number for every count.

    Args:
        values: float32 ``[n]``, none negative, none NaN.
        counts: Integers from 0 to n, in any order.
        weights: Arrays like ``values``, to be summed over the c greatest of them.
    """
    wanted, position = np.unique(np.asarray(counts, np.int64), return_inverse=True)
    if not isinstance(values, jax.Array) and on_device.pays((), values.size):
        values = jnp.asarray(values)
    if isinstance(values, jax.Array):
        ordered = on_device.Ordered(values)
        cuts = _with_none(ordered.cuts, wanted)
        sums = ordered.sums(wanted, weights)
    else:
        values = np.ascontiguousarray(values)
        find = sort if values.size < on_device.SMALL else radix_select
        cuts = _with_none(functools.partial(find, values), wanted)
        sums = np.zeros((0, len(wanted)))
        if weights:
            sums = sums_in(cuts, first_cut(values, cuts), weights)
    return Selection(cuts.threshold[position], cuts.cutoff[position], sums[:, position])


def _with_none(find: Callable[[np.ndarray], Cuts], counts: np.ndarray) -> Cuts:
    """The cuts of counts that rise, the first of which may be 0.

    Args:
        find: For counts from 1.
        counts: From 0.
    """
    zero = np.count_nonzero(counts == 0)
    found = find(counts[zero:])
    return Cuts(
        np.r_[np.full(zero, np.inf, np.float32), found.threshold],
        np.r_[np.zeros(zero, np.uint32), found.cutoff],
    )


def sort(values: np.ndarray, counts: np.ndarray) -> Cuts:
    """As `radix_select`, for a small tensor."""
    ordered = words(values.view(np.uint32), np.arange(values.size, dtype=np.uint32))
    ordered.sort()
    return cuts_at(ordered, counts - 1)
