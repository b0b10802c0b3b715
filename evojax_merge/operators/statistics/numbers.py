"""Numbers of tensors on the host, for the compiled programs that run there."""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from evojax_merge.operators.statistics.layers import rows
from evojax_merge.params.low_rank import Adapted


@functools.cache
def processor() -> Any:
    """This machine's processor, or None where it is not among the backends."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None


@contextmanager
def programs_here() -> Iterator[None]:
    """Run programs on this machine's processor, with 64 bits, even while another is traced."""
    with jax.default_device(processor()), jax.enable_x64(True), jax.ensure_compile_time_eval():
        yield


def at(table: Any, index: Any) -> Any:
    """Look up entries of a table, in a program that gives no index out of its bounds."""
    return table.at[index.astype(jnp.int32)].get(mode="promise_in_bounds")


class Numbers(NamedTuple):
    """Numbers of a tensor, none negative and none NaN, that need not be made before they are used.

    Attributes:
        ends: The numbers themselves in one float32 array, or the flat leaves of sources where there
            is an origin.
        origin: The leaf of the base, or None. With a base and one source the numbers are the
            absolute values of the difference, with more the variance over the differences.
        opaque: Zero, and how many sources there are, which a compiler must not know.
    """

    ends: tuple[Any, ...]
    origin: Any = None
    opaque: tuple[np.uint32, np.float64] | None = None

    @classmethod
    def variance(cls, ends: Sequence[Any], origin: Any) -> "Numbers":
        """The variance of each element over two or more sources."""
        return cls(tuple(ends), origin, (np.uint32(0), np.float64(len(ends))))

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return self.ends[0].size

    def part(self, where: slice) -> "Numbers":
        """Some of the numbers that follow each other."""
        return self._each(lambda array: array[where])

    def take(self, index: np.ndarray) -> "Numbers":
        """The numbers at some positions."""
        return self._each(lambda array: _take(array, index))

    def made(self) -> Any:
        """Make the numbers, in float32.

        A compiled program that makes a variance must allow for 64 bits.
        """
        if self.origin is None:
            return self.ends[0]
        origin = _float32(self.origin)
        vectors = [_float32(end) - origin for end in self.ends]
        if self.opaque is not None:
            return variance_of(vectors, self.opaque)
        (vector,) = vectors
        if isinstance(vector, np.ndarray):
            return _normal(np.abs(vector, out=vector))
        return jnp.abs(vector)

    def _each(self, change: Callable[[Any], Any]) -> "Numbers":
        origin = None if self.origin is None else change(self.origin)
        return Numbers(tuple(change(end) for end in self.ends), origin, self.opaque)


def variance_of(vectors: Sequence[Any], opaque: tuple[Any, Any] | None = None) -> Any:
    """The variance of each element over some vectors: exactly 0 where all are equal.

    Their mean may be rounded away from three equal numbers; that of differences to the first is
    not. Every operation is rounded to float32, as NumPy does. A compiler would join a product with
    a sum, and multiply by the inverse where it should divide. So what it is given passes through
    integers, and is divided in float64, by numbers that it does not know.

    Args:
        vectors: One or more vectors of float32.
        opaque: Zero, and how many vectors there are.
    """
    zero, number = opaque or (np.uint32(0), np.float64(len(vectors)))
    moved = [vector - vectors[0] for vector in vectors]
    mean = _quotient(_sum(moved), number)
    return _quotient(_sum([_square(vector - mean, zero) for vector in moved]), number)


def _sum(terms: Sequence[Any]) -> Any:
    return sum(terms[1:], terms[0])


def _square(array: Any, zero: Any) -> Any:
    if isinstance(array, np.ndarray):
        return array * array
    bits = lax.bitcast_convert_type(array * array, jnp.uint32)
    return lax.bitcast_convert_type(bits + zero, jnp.float32)


def _quotient(array: Any, number: Any) -> Any:
    if isinstance(array, np.ndarray):
        return array / np.float32(number)
    return (array.astype(jnp.float64) / number).astype(jnp.float32)


def _take(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    if array.dtype == jnp.bfloat16:  # NumPy takes numbers of its own types faster
        return array.view(np.uint16).take(index).view(jnp.bfloat16)
    return array.take(index)


def _float32(array: Any) -> Any:
    if not isinstance(array, np.ndarray):
        return array.astype(jnp.float32)
    if array.dtype == jnp.bfloat16:  # a faster conversion
        return _normal((array.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32))
    return _normal(array.astype(np.float32, copy=False))


def _normal(array: np.ndarray) -> np.ndarray:
    """Put zeros in the place of subnormal numbers, as compiled programs read and write these."""
    return np.where(np.abs(array) < np.finfo(np.float32).tiny, np.float32(0), array)


def moved(base: Any, source: Any, layered: bool, layer: int) -> Numbers:
    """The absolute values of a task vector, which is that of `task_vector_row`."""
    if isinstance(source, Adapted):
        return Numbers((np.abs(source.task_vector_row(layered, layer)),))
    end, origin = (rows(leaf, layered)[layer] for leaf in (source, base))
    return Numbers((end,), origin)
