"""Which elements of a tensor are its largest, found on the device where it has room for them.

A leaf lies on the host or on a GPU. The functions here choose once where its numbers are ordered,
and the same questions are answered there (`statistics.ordering.Order`).
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.operators.base import Leaf, Source
from evojax_merge.operators.statistics import (
    on_device,
    on_host,
    row_ranks,
    row_ranks_on_device,
)
from evojax_merge.operators.statistics.by_size import few_are_equal
from evojax_merge.operators.statistics.layers import rows, task_vector_row
from evojax_merge.operators.statistics.numbers import Numbers, moved, variance_of
from evojax_merge.operators.statistics.ordering import Order
from evojax_merge.operators.statistics.row_ranks import STEPS
from evojax_merge.operators.statistics.sums_by_place import sums_by_place
from evojax_merge.operators.steps.cuts import Cut
from evojax_merge.params.low_rank import Adapted
from evojax_merge.params.types import Array


class Selection(NamedTuple):
    """The cuts that hold the c greatest numbers, for many counts c.

    Attributes:
        cut: The cut of each count; the one for 0 has an infinite threshold.
        sums: The sum of a power of the c greatest, float64, or None where none was asked for.
    """

    cut: Cut
    sums: np.ndarray | None


def select(order: Order, counts: np.ndarray, power: int | None = None) -> Selection:
    """Find the c-th greatest number for every count c.

    Args:
        order: The order of the numbers.
        counts: Integers from 0 to the size of the tensor, in any order.
        power: 1 to sum the c greatest too, 2 to sum their squares.
    """
    wanted, position = np.unique(np.asarray(counts, np.int64), return_inverse=True)
    some = wanted[wanted > 0]
    sums = None if power is None else order.sums(wanted, power)[position]
    found = order.cut(some)
    none = len(wanted) - len(some)
    threshold = np.r_[np.full(none, np.inf, np.float32), found.threshold]
    cutoff = np.r_[np.zeros(none, np.uint32), found.cutoff]
    return Selection(Cut(threshold[position], cutoff[position]), sums)


def ordered(values: np.ndarray | Array | Numbers) -> Order:
    """The order of numbers, on the device if they lie there or are worth carrying to it.

    Args:
        values: The numbers, float32 ``[n]``, none negative and none NaN.
    """
    if isinstance(values, np.ndarray) and on_device.pays((), values.size):
        values = jnp.asarray(values)
    if isinstance(values, jax.Array):
        return on_device.Ordered(values)
    return on_host.Ordered(values if isinstance(values, Numbers) else Numbers((values,)))


def magnitudes(base: Leaf, source: Source, layered: bool, layer: int) -> Numbers | Array:
    """The absolute values of a task vector, on the device where it is better ordered there."""
    if on_device.pays((base, source), _elements(base, layered)):
        return jnp.abs(on_device.task_vector(base, source, layered, layer))
    return moved(base, source, layered, layer)


def orders_of_magnitude(base: Leaf, source: Source, layered: bool) -> Callable[[int], Order]:
    """The order of the elements of a leaf by their magnitude in a task vector.

    Returns:
        A function of the layer, which gives the order of its elements.
    """
    common = None
    there = on_device.pays((base, source), _elements(base, layered))
    if layered and not there and not isinstance(source, Adapted):
        whole = moved(base, source, False, 0)
        common = None if few_are_equal(whole) else on_host.common_buckets(whole, base.shape[0])

    def of_layer(layer: int) -> Order:
        values = magnitudes(base, source, layered, layer)
        return on_host.Ordered(values, common) if isinstance(values, Numbers) else ordered(values)

    return of_layer


def orders_of_variance(
    base: Leaf, sources: Sequence[Source], layered: bool
) -> Callable[[int], tuple[Order, list[Any]]]:
    """The order of the elements of a leaf by their variance over the sources.

    Returns:
        A function of the layer, which gives the order of its elements and the task vectors of the
        sources, as `Order.sums_of` takes them.
    """
    # The task vectors of an adapter, and that of one source alone, are made first.
    made = len(sources) == 1 or any(isinstance(leaf, Adapted) for leaf in (base, *sources))
    if on_device.pays((base, *sources), _elements(base, layered), len(sources)):

        def there(layer: int) -> tuple[Order, list[Any]]:
            vectors = [on_device.task_vector(base, one, layered, layer) for one in sources]
            return on_device.Ordered(on_device.variance_of(vectors)), vectors

        return there

    if made:

        def of_made(layer: int) -> tuple[Order, list[Any]]:
            vectors = [task_vector_row(base, one, layered, layer) for one in sources]
            return on_host.Ordered(Numbers((variance_of(vectors),))), vectors

        return of_made

    common = None
    if layered:
        origin, *ends = (rows(leaf, False)[0] for leaf in (base, *sources))
        common = on_host.common_buckets(Numbers.variance(ends, origin), len(rows(base, layered)))

    def here(layer: int) -> tuple[Order, list[Any]]:
        origin, *ends = (rows(leaf, layered)[layer] for leaf in (base, *sources))
        vectors = [Numbers((end,), origin) for end in ends]
        return on_host.Ordered(Numbers.variance(ends, origin), common), vectors

    return here


class Ranked(NamedTuple):
    """The rank of each number in its row, and sums over all of them.

    Attributes:
        rank: The ranks, uint8 ``[rows, elements]``, from 0 (least) to 255; equal numbers have their
            mean rank.
        plain: The sum of a power of the numbers.
        weighted: The same sum with each number weighted by rank / 255.
    """

    rank: Any
    plain: np.ndarray
    weighted: np.ndarray


def rank_in_rows(magnitude: Numbers | Array, width: int, power: int) -> Ranked:
    """Rank numbers in the rows that they make up.

    Args:
        magnitude: The numbers, none negative and none NaN.
        width: The number of elements of a row.
        power: 1 to sum the numbers, 2 to sum their squares.
    """
    if isinstance(magnitude, jax.Array):
        in_rows = magnitude.reshape(-1, width)
        there = row_ranks_on_device.row_ranks(in_rows)
        sums = row_ranks_on_device.sums_by_rank(in_rows, there, power == 2)
        return Ranked(there, *(np.array(one, np.float32) for one in sums))
    ranks = row_ranks.ranks_in_rows(magnitude, width)
    (by_rank,) = sums_by_place(ranks.ravel(), STEPS + 1, (magnitude,), power)
    weighted = by_rank @ np.arange(STEPS + 1) / STEPS
    return Ranked(ranks, np.array(by_rank.sum(), np.float32), np.array(weighted, np.float32))


def _elements(leaf: Leaf, layered: bool) -> int:
    """The number of elements of each layer."""
    return prod(leaf.shape[int(layered) :])
