"""Order statistics of a tensor that lies on a GPU, by sorting it there.

The numbers are the same as on the host, to the bit, but for sums, whose order differs. The compiler
has no fast program for a sort of two keys, but has one for a stable sort of one key; two of these
do the same.
"""

from collections.abc import Sequence
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from evojax_merge.operators.statistics.layers import rows
from evojax_merge.operators.statistics.ordering import Order
from evojax_merge.operators.steps.cuts import ALL, Cut, rank
from evojax_merge.params.low_rank import Adapted
from evojax_merge.params.types import Array, Float

LEAST = 2**16
"""The number of elements of the smallest tensor that is carried to the device."""

MOST = 2**31
"""Positions are 32 bits wide, with a sign."""

ROOM = 128
"""How many bytes of memory must be free for each element: for the sorts, and for what other threads
put there meanwhile."""

BLOCK = 4096
"""How many elements are added up at once."""

FIXED = 2**29
"""How many bytes of memory sums take whatever the tensor is: two blocks for each count."""

turn = Lock()
"""The lock by which sorts and counts take turns: they are one after another anyway, and take
memory."""


def pays(leaves: Sequence[Any], elements: int, tensors: int = 1) -> bool:
    """Whether tensors are worth carrying to the device and have room there.

    Args:
        leaves: The leaves that they come from.
        elements: The number of elements of each.
        tensors: The number of tensors that are held there together.
    """
    if _platform() != "gpu" or not LEAST <= elements < MOST:
        return False
    if any(isinstance(leaf, Adapted) for leaf in leaves):  # made on the host
        return False
    memory = jax.local_devices()[0].memory_stats() or {}
    free = memory.get("bytes_limit", 0) - memory.get("bytes_in_use", 0)
    return elements * tensors * ROOM + FIXED <= free


def _platform() -> str:
    """Where arrays are made now: on the default backend, or the device that stands in for it."""
    with jax.ensure_compile_time_eval():
        (device,) = jnp.zeros(()).devices()
    return device.platform


def task_vector(base: Any, source: Any, layered: bool, layer: int) -> Float[Array, " elements"]:
    """Source minus base of one layer in float32, flat, on the device."""
    return _difference(*(jnp.asarray(rows(leaf, layered)[layer]) for leaf in (source, base)))


def variance_of(vectors: Sequence[Float[Array, " elements"]]) -> Float[Array, " elements"]:
    """The variance of each element over the vectors, with the bits of the host's.

    Products and sums are programs of their own: compiled together they may become one operation,
    which rounds otherwise.
    """
    moved = [_difference(vector, vectors[0]) for vector in vectors]
    mean = _divided(_sum(moved), len(moved))
    squares = [_square(_difference(vector, mean)) for vector in moved]
    return _divided(_sum(squares), len(squares))


class Ordered(Order):
    """An `Order` of a tensor that lies on the device.

    Attributes:
        size: The number of elements.
    """

    def __init__(self, values: Float[Array, " elements"]) -> None:
        """Sort the values on the device.

        Args:
            values: Numbers in float32, none negative and none NaN; at least one and fewer than
                2**31.
        """
        self.size = values.size
        self._values = values
        with turn:
            self._index = jax.block_until_ready(_order(values))

    @property
    def zeros(self) -> int:
        """The number of elements that are zero."""
        return self.size - int(jnp.count_nonzero(self._values))

    def cut(self, counts: np.ndarray) -> Cut:
        """The cut that `Order.cut` describes."""
        last = jnp.asarray(counts - 1, jnp.int32)
        return Cut(*(np.asarray(found) for found in _cuts(self._values, self._index, last)))

    def first(self, counts: np.ndarray) -> Array:
        """The positions that `Order.first` describes."""
        with turn:
            return _first(self._index, jnp.asarray(counts, jnp.int32))

    def sums(self, counts: np.ndarray, power: int = 1) -> np.ndarray:
        """The sums that `Order.sums` describes."""
        return self.sums_of([self._values], counts, power)[0]

    def sums_of(self, tensors: Sequence[Any], counts: np.ndarray, power: int = 1) -> np.ndarray:
        """The sums that `Order.sums_of` describes."""
        sums = np.empty((len(tensors), len(counts)))
        whole = np.minimum(counts // BLOCK, max(self.size // BLOCK - 1, 0))
        weights = [jnp.asarray(tensor) ** power for tensor in tensors]
        with turn, jax.enable_x64(True):
            for own, weight in zip(sums, weights, strict=True):
                start, stop = jnp.asarray(whole * BLOCK), jnp.asarray(counts)
                blocks, rest = _sums(weight, self._index, start, stop)
                own[:] = np.r_[0.0, np.cumsum(np.asarray(blocks))][whole] + np.asarray(rest)
        return sums


@jax.jit
def _difference(end: Array, origin: Array) -> Array:
    return end.astype(jnp.float32) - origin.astype(jnp.float32)


@jax.jit
def _sum(terms: Sequence[Array]) -> Array:
    return sum(terms[1:], terms[0])


@jax.jit
def _square(x: Array) -> Array:
    return x * x


def _divided(x: Array, number: int) -> Array:
    """Divide, rounding once: a GPU's own division of float32 is not exact."""
    with jax.enable_x64(True):
        return _divide(x, jnp.float64(number))


@jax.jit
def _divide(x: Array, number: Array) -> Array:
    return (x.astype(jnp.float64) / number).astype(jnp.float32)


@jax.jit
def _order(values: Array) -> Array:
    index = jnp.arange(values.size, dtype=jnp.uint32)
    _, by_rank = lax.sort((rank(index), index), num_keys=1)
    falling = ~lax.bitcast_convert_type(values, jnp.uint32)[by_rank]
    _, order = lax.sort((falling, by_rank), num_keys=1, is_stable=True)
    return order


@jax.jit
def _cuts(values: Array, order: Array, last: Array) -> tuple[Array, Array]:
    following = jnp.minimum(last + 1, values.size - 1)
    threshold = values[order[last]]
    equal = (following > last) & (values[order[following]] == threshold)
    return threshold, jnp.where(equal, rank(order[last]), ALL)


@jax.jit
def _sums(weight: Array, order: Array, start: Array, stop: Array) -> tuple[Array, Array]:
    """The sums of whole blocks in order, and those from ``start`` to ``stop``.

    ``start`` and ``stop`` are less than two blocks apart.
    """
    ordered = weight[order]
    whole = order.size // BLOCK
    blocks = ordered[: whole * BLOCK].reshape(whole, BLOCK).astype(jnp.float64).sum(axis=1)
    place = start[:, None] + jnp.arange(2 * BLOCK)[None]
    taken = ordered[jnp.minimum(place, order.size - 1)].astype(jnp.float64)
    return blocks, jnp.where(place < stop[:, None], taken, 0.0).sum(axis=1)


@jax.jit
def _first(order: Array, counts: Array) -> Array:
    place = jnp.arange(order.size, dtype=jnp.int32)
    first = jnp.searchsorted(counts, place, side="right").astype(jnp.uint16)
    return jnp.zeros(order.size, jnp.uint16).at[order].set(first, unique_indices=True)
