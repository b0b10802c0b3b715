"""The tensors of a plan merged, each in pieces of few elements.

All tensors are flat and merged 2**19 elements at a time: one program for all shapes, and memory for
little more than the statistics. A whole tensor is held where it is small, where a random mask is
drawn for it, where its rows or columns are vectors of their own, or where its tokens are brought to
another vocabulary.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.checkpoints import CheckpointError
from evojax_merge.exchange.exact import statistics
from evojax_merge.exchange.methods import METHODS, Static
from evojax_merge.exchange.planning import Job, Plan
from evojax_merge.exchange.reading import Buffer, Reader, Tensor
from evojax_merge.exchange.vocabulary import align_tables
from evojax_merge.finite import is_finite
from evojax_merge.operators.base import Operator
from evojax_merge.operators.random_mask import fold, leaf_key

CHUNK = 2**19
"""Elements merged at once."""

HELD = 2**26
"""Bytes of the tensors of one merge that are held rather than read once more after statistics."""


class Merger:
    """Reads and merges the tensors of a plan; a context that closes the files."""

    def __init__(self, plan: Plan, seed: int = 0) -> None:
        """Args:
        plan: What to merge.
        seed: Of the random masks.
        """
        self._plan = plan
        self._seed = seed
        self._reader = Reader(plan.checkpoints)
        most = max(len(job.origins) for job in plan.jobs)
        self._buffers = [Buffer() for _ in range(most)]
        self._results: dict[np.dtype, jax.Array] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def parts(self, job: Job) -> Iterator[tuple[int, np.ndarray]]:
        """The elements of a merged tensor in order, flat, each part with the place of its first.

        A part is overwritten when the next is asked for.

        Raises:
            CheckpointError: A tensor, or what it is merged to, is not finite.
        """
        shape = job.slot.shape
        size = int(np.prod(shape, dtype=np.int64))
        operator = self._plan.method.build(dict(job.static), 1.0, job.base is not None)
        tensors = self._tensors(job)
        step = CHUNK
        if operator.random or _by_vectors(job.static):
            tensors = [tensor[:].reshape(shape) for tensor in tensors]
            step = size
        elif self._is_copy(job, tensors):
            for first in range(0, size, CHUNK):
                with tensors[0].mapped(first, min(first + CHUNK, size)) as part:
                    yield first, part
            return
        elif sum(size * tensor.dtype.itemsize for tensor in tensors) <= HELD:
            tensors = [tensor[:] for tensor in tensors]
        base, sources = _split(job, tensors)
        found, coefficients = statistics(
            operator, shape, base, sources, job.coefficients, dict(job.static)
        )
        for first in range(0, size, step):
            stop = min(first + step, size)
            pieces = tensors
            if step < size or step == CHUNK:
                pieces = [_padded(tensor[first:stop]) for tensor in tensors]
            held = found(first, *_split(job, pieces))
            merged = self._merge(job, operator, pieces, held, coefficients)
            part = np.asarray(merged).reshape(-1)[: stop - first]
            if not is_finite(part):
                raise CheckpointError(
                    f"{job.name}: the merge has numbers that {job.dtype.name} cannot hold; give "
                    "another out_dtype, or smaller weights"
                )
            yield first, part

    def _is_copy(self, job: Job, tensors: Sequence[Any]) -> bool:
        return (
            self._plan.method.name == "passthrough"
            and isinstance(tensors[0], Tensor)
            and job.coefficients["scale"] == 1.0
            and tensors[0].dtype == job.dtype
        )

    def _tensors(self, job: Job) -> list[Any]:
        """What is merged, flat: on disk, or in memory where tokens were moved."""
        tensors: list[Any] = [
            self._reader.open(origin.model, origin.tensor, buffer)
            for origin, buffer in zip(job.origins, self._buffers, strict=False)
        ]
        if not job.in_vocabulary or self._plan.tokens is None:
            return tensors
        models = [origin.model for origin in job.origins]
        tables = [tensor[:].reshape(-1, *job.slot.shape[1:]) for tensor in tensors]
        base = models.index(0) if 0 in models else None
        return [x.reshape(-1) for x in align_tables(self._plan.tokens, tables, models, base)]

    def _merge(
        self,
        job: Job,
        operator: Operator,
        tensors: Sequence[np.ndarray],
        found: Any,
        coefficients: Any,
    ) -> jax.Array:
        base, sources = _split(job, tensors)
        key: Any = np.uint32(0)
        if operator.random:
            key = leaf_key(self._seed, job.slot.path)
            key = key if job.slot.layer is None else fold(key, np.uint32(job.slot.layer))
        program = _program(self._plan.method.name, job.static, base is not None, job.dtype)
        numbers = {name: np.asarray(value, np.float32) for name, value in coefficients.items()}
        inputs = (base, sources, numbers, found, np.float32(job.lam), key)
        shape = sources[0].shape
        if shape != (CHUNK,):
            return program(None, *inputs)
        # Pages of fresh memory cost as much as a merge; the piece before has been written.
        last = self._results.pop(job.dtype, None)
        if last is None:
            last = jnp.zeros(shape, job.dtype)
        merged = program(last, *inputs)
        self._results[job.dtype] = merged
        return merged


def _by_vectors(static: Static) -> bool:
    """Whether rows or columns are vectors of their own."""
    given = dict(static)
    return bool(given.get("filter_wise")) or given.get("nuslerp_flatten", True) is False


def _split(job: Job, tensors: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
    return (None, tuple(tensors)) if job.base is None else (tensors[0], tuple(tensors[1:]))


def _padded(part: np.ndarray) -> np.ndarray:
    if part.size == CHUNK:
        return part
    whole = np.zeros(CHUNK, part.dtype)
    whole[: part.size] = part
    return whole


@functools.cache
def _program(method: str, static: Static, based: bool, dtype: np.dtype) -> Any:
    """Compiled once for each shape that it is called with; its first argument holds the result."""

    def run(
        last: Any, base: Any, sources: Any, coefficients: Any, found: Any, lam: Any, key: Any
    ) -> jax.Array:
        del last
        operator = METHODS[method].build(dict(static), lam, based)
        return operator.merge(base, sources, coefficients, found, key).astype(dtype)

    return jax.jit(run, donate_argnums=0, keep_unused=True)
