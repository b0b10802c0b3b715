"""The tensors of a plan merged, each in pieces where its elements do not depend on their place.

A weighted sum is the same for every element, so that its tensors are flat and merged 2**19
elements at a time: one program for all shapes, and memory for little more than what the statistics
need. Where an element's place matters (masks, rows, equal magnitudes), a tensor is merged at once.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, Self

import jax
import numpy as np

from evojax_merge.exchange.exact import statistics
from evojax_merge.exchange.methods import METHODS, Static
from evojax_merge.exchange.planning import Job, Plan
from evojax_merge.exchange.reading import Buffer, Reader
from evojax_merge.exchange.vocabulary import align_tables
from evojax_merge.operators.random_mask import fold, leaf_key

CHUNK = 2**19
"""Elements merged at once."""

_PLACELESS = (
    "linear",
    "slerp",
    "nuslerp",
    "multislerp",
    "karcher",
    "model_stock",
    "passthrough",
    "nearswap",
    "task_arithmetic",
    "ram",
    "ramplus_tl",
)
"""Methods that treat all elements of a tensor alike, but by rows where they are told to."""

_UNMEASURED = ("linear", "passthrough", "nearswap", "task_arithmetic", "ram")
"""Those that need to know nothing of the whole tensor, which is then never read at once."""


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
        self._buffers = [[Buffer() for _ in range(most)] for _ in range(3)]
        self._turn = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def parts(self, job: Job) -> Iterator[np.ndarray]:
        """The elements of a merged tensor in order, flat.

        A part is overwritten when the next but one is asked for.
        """
        static = dict(job.static)
        flat = self._plan.method.name in _PLACELESS and not (
            static.get("filter_wise") or static.get("nuslerp_flatten", True) is False
        )
        moved = job.in_vocabulary and self._plan.tokens is not None
        if not flat:
            shaped = [x.reshape(job.slot.shape) for x in self._tensors(job)]
            yield np.asarray(self._merge(job, shaped, *self._statistics(job, shaped)))
            return
        tensors: list[np.ndarray] | None = None
        found: tuple[Any, Any] | None = None
        if moved or self._plan.method.name not in _UNMEASURED:
            tensors = self._tensors(job)
            found = self._statistics(job, tensors)
        size = int(np.prod(job.slot.shape, dtype=np.int64))
        for first in range(0, size, CHUNK):
            count = min(CHUNK, size - first)
            if tensors is None:
                self._turn = 1 - self._turn  # the last part may still be on its way to the disk
                parts = self._read(job, self._turn, first, count)
            else:
                parts = [tensor[first : first + count] for tensor in tensors]
            if self._is_copy(job, parts):
                yield parts[0] if tensors is None else parts[0].copy()
                continue
            whole = [_padded(part) for part in parts]
            found = found or self._statistics(job, whole)
            yield np.asarray(self._merge(job, whole, *found))[:count]

    def _is_copy(self, job: Job, parts: Sequence[np.ndarray]) -> bool:
        return (
            self._plan.method.name == "passthrough"
            and job.coefficients["scale"] == 1.0
            and parts[0].dtype == job.dtype
        )

    def _tensors(self, job: Job) -> list[np.ndarray]:
        """All elements of what is merged, flat."""
        tensors = self._read(job, 2)
        if not job.in_vocabulary or self._plan.tokens is None:
            return tensors
        models = [origin.model for origin in job.origins]
        tables = [tensor.reshape(-1, *job.slot.shape[1:]) for tensor in tensors]
        base = models.index(0) if 0 in models else None
        return [x.reshape(-1) for x in align_tables(self._plan.tokens, tables, models, base)]

    def _read(
        self, job: Job, turn: int, first: int = 0, count: int | None = None
    ) -> list[np.ndarray]:
        return [
            self._reader.read(origin.model, origin.tensor, buffer, first, count)
            for origin, buffer in zip(job.origins, self._buffers[turn], strict=False)
        ]

    def _statistics(self, job: Job, tensors: Sequence[np.ndarray]) -> tuple[Any, Any]:
        base, sources = _split(job, tensors)
        operator = self._plan.method.build(dict(job.static), 1.0, base is not None)
        rescaled = bool(dict(job.static).get("rescale", False))
        return statistics(operator, base, sources, job.coefficients, rescaled)

    def _merge(
        self, job: Job, tensors: Sequence[np.ndarray], found: Any, coefficients: Any
    ) -> jax.Array:
        base, sources = _split(job, tensors)
        method = self._plan.method
        key: Any = np.uint32(0)
        if method.build(dict(job.static), 1.0, base is not None).random:
            key = leaf_key(self._seed, job.slot.path)
            key = key if job.slot.layer is None else fold(key, np.uint32(job.slot.layer))
        program = _program(method.name, job.static, base is not None, job.dtype)
        numbers = {name: np.asarray(value, np.float32) for name, value in coefficients.items()}
        return program(base, sources, numbers, found, np.float32(job.lam), key)


def _split(job: Job, tensors: Sequence[np.ndarray]) -> tuple[Any, tuple[np.ndarray, ...]]:
    return (None, tuple(tensors)) if job.base is None else (tensors[0], tuple(tensors[1:]))


def _padded(part: np.ndarray) -> np.ndarray:
    if part.size == CHUNK:
        return part
    whole = np.zeros(CHUNK, part.dtype)
    whole[: part.size] = part
    return whole


@functools.cache
def _program(method: str, static: Static, based: bool, dtype: np.dtype) -> Any:
    """Compiled once for each shape that it is called with."""

    def run(
        base: Any, sources: Any, coefficients: Any, found: Any, lam: Any, key: Any
    ) -> jax.Array:
        operator = METHODS[method].build(dict(static), lam, based)
        return operator.merge(base, sources, coefficients, found, key).astype(dtype)

    return jax.jit(run)
