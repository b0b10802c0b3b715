"""The tensors of a plan are merged, each in pieces of few elements.

All tensors are flat and merged a million elements at a time, where they lie in their files. One
program serves all shapes, and memory holds little but the statistics. A whole tensor is held where
a random mask is drawn for it, where its rows or columns are vectors of their own, where an adapter
is added to it, or where its tokens are brought to another vocabulary.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from jax import lax

from evojax_merge.checkpoints import CheckpointError
from evojax_merge.checkpoints.adapter_factors import Addition
from evojax_merge.exchange.methods import METHODS, Static
from evojax_merge.exchange.plan import Job, Origin, Plan
from evojax_merge.exchange.tensor_reader import Buffer, Reader, Tensor
from evojax_merge.exchange.vocabulary import align_tables
from evojax_merge.operators.base import Operator, no_statistics
from evojax_merge.operators.statistics import Tensors
from evojax_merge.operators.statistics.windows import Window, window
from evojax_merge.operators.steps.random_mask import fold, leaf_key
from evojax_merge.params.finite import is_finite

CHUNK = 2**20
"""The number of elements merged at once."""

Write = Callable[[int, np.ndarray], None]

HELD = 2**26
"""The bytes of one merge's tensors that stay mapped where they are read more than once."""


class Merger:
    """A merger merges the tensors of a plan, one at a time."""

    def __init__(
        self,
        plan: Plan,
        reader: Reader,
        seed: int = 0,
        additions: Mapping[Origin, Addition] = MappingProxyType({}),
    ) -> None:
        """Args:
        plan: The plan.
        reader: The reader of the plan's checkpoints.
        seed: The seed of the random masks.
        additions: The additions of LoRA adapters, by the tensors that they are added to.
        """
        self._plan = plan
        self._reader = reader
        self._seed = seed
        self._additions = additions
        most = max(len(job.origins) for job in plan.jobs)
        self._buffers = [Buffer() for _ in range(most)]
        self._results: dict[np.dtype, jax.Array] = {}

    def merge(self, job: Job, write: Write) -> None:
        """Merge a tensor and write its elements, flat and in order.

        Args:
            job: The merge of the tensor.
            write: The function that takes the place of the first of some elements, and these. It
                may not keep them, since the next ones overwrite them.

        Raises:
            CheckpointError: A tensor, or what it is merged to, is not finite.
        """
        operator = self._plan.method.build(dict(job.static), 1.0, job.base is not None)
        whole = operator.random or _by_vectors(job.static)
        read_once = whole or operator.init is no_statistics
        tensors = self._tensors(job, 0 if read_once else HELD)
        try:
            self._write(job, operator, tensors, whole, write)
        finally:
            for tensor in tensors:
                if isinstance(tensor, Tensor):
                    tensor.release()

    def _write(
        self, job: Job, operator: Operator, tensors: list[Any], whole: bool, write: Write
    ) -> None:
        shape = job.slot.shape
        size = int(np.prod(shape, dtype=np.int64))
        step = size if whole else CHUNK
        if whole:
            tensors = [_copied(tensor).reshape(shape) for tensor in tensors]
        elif self._is_copy(job, tensors):
            for first in range(0, size, CHUNK):
                write(first, tensors[0][first : first + CHUNK])
            return
        found = _statistics(operator, Tensors(*_split(job, tensors), shape), job.coefficients)
        for first in range(0, size, step):
            stop = min(first + step, size)
            windows = [
                Window(tensor, 0, size) if whole else window(tensor, first, CHUNK)
                for tensor in tensors
            ]
            held = found(first, windows[0].size)
            merged = self._merge(job, operator, windows, held, whole)
            part = np.asarray(merged).reshape(-1)[: stop - first]
            if not is_finite(part):
                for tensor in tensors:
                    if isinstance(tensor, Tensor):
                        tensor.check()
                raise CheckpointError(
                    f"{job.name}: the merge has numbers that {job.dtype.name} cannot hold; give "
                    "another out_dtype, or smaller weights"
                )
            write(first, part)
            # A result that is still looked at is not overwritten but copied to fresh memory.
            del merged, part

    def _is_copy(self, job: Job, tensors: Sequence[Any]) -> bool:
        return (
            self._plan.method.name == "passthrough"
            and isinstance(tensors[0], Tensor)
            and job.coefficients["scale"] == 1.0
            and tensors[0].dtype == job.dtype
        )

    def _tensors(self, job: Job, held: int) -> list[Any]:
        """Open the tensors of a merge, flat: on disk, or in memory where they are changed first.

        Args:
            job: The merge.
            held: How many bytes may stay mapped.
        """
        # Where elements are added up, that of the result shows what is wrong with one of them.
        checking = not self._plan.method.adds
        kept = held // len(job.origins)
        tensors: list[Any] = [
            self._reader.open(origin.model, origin.tensor, buffer, kept, checking)
            for origin, buffer in zip(job.origins, self._buffers, strict=False)
        ]
        for place, origin in enumerate(job.origins if self._additions else ()):
            if added := self._additions.get(origin):
                shape = len(added.left), added.right.shape[1]
                tensors[place] = added.to(tensors[place].copy().reshape(shape)).reshape(-1)
        if not job.in_vocabulary or self._plan.tokens is None:
            return tensors
        models = [origin.model for origin in job.origins]
        tables = [tensor.copy().reshape(-1, *job.slot.shape[1:]) for tensor in tensors]
        base = models.index(0) if 0 in models else None
        return [x.reshape(-1) for x in align_tables(self._plan.tokens, tables, models, base)]

    def _merge(
        self,
        job: Job,
        operator: Operator,
        windows: Sequence[Window],
        found: Any,
        whole: bool,
    ) -> jax.Array:
        key: Any = np.uint32(0)
        if operator.random:
            key = leaf_key(self._seed, job.slot.path)
            key = key if job.slot.layer is None else fold(key, np.uint32(job.slot.layer))
        program = _program(self._plan.method.name, job.static, job.base is not None, job.dtype)
        numbers = {name: np.asarray(value, np.float32) for name, value in job.coefficients.items()}
        held = [window.held for window in windows]
        skips = np.array([window.skip for window in windows], np.int32)
        inputs = (held, skips, numbers, found, np.float32(job.lam), key)
        if whole:
            return program(None, *inputs)
        # Pages of fresh memory cost as much as a merge; the piece before has been written.
        last = self._results.pop(job.dtype, None)
        if last is None:
            last = jax.device_put(np.zeros(CHUNK, job.dtype), may_alias=False)
        merged = program(last, *inputs)
        self._results[job.dtype] = merged
        return merged


def _statistics(
    operator: Operator, tensors: Tensors, coefficients: Mapping[str, Any]
) -> Callable[[int, int], Any]:
    """Make the function that finds the statistics of a piece by its place and its length.

    A search draws densities from a grid and looks each up in a table. A file has one density for a
    tensor, on the grid or not, for which an operator finds the cut alone.
    """
    if operator.init_fixed is not None:
        return operator.init_fixed(tensors, coefficients)
    # The result shows NaN and infinity. (This thread computes it: the tensor has no layers.)
    with np.errstate(invalid="ignore", over="ignore"):
        found = operator.init(tensors.base, tensors.sources, False)
    return lambda first, count: found


def _by_vectors(static: Static) -> bool:
    """Tell whether rows or columns are vectors of their own."""
    given = dict(static)
    return bool(given.get("filter_wise")) or given.get("nuslerp_flatten", True) is False


def _split(job: Job, tensors: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
    return (None, tuple(tensors)) if job.base is None else (tensors[0], tuple(tensors[1:]))


def _copied(tensor: Any) -> np.ndarray:
    return tensor.copy() if isinstance(tensor, Tensor) else tensor


@functools.cache
def _program(method: str, static: Static, based: bool, dtype: np.dtype) -> Any:
    """Make a program, compiled once for each shape. Its first argument holds the result."""

    def run(
        last: Any, held: Any, skips: Any, coefficients: Any, found: Any, lam: Any, key: Any
    ) -> jax.Array:
        tensors = held
        if last is not None:
            tensors = [
                lax.dynamic_slice(tensor, (skip,), last.shape)
                for tensor, skip in zip(held, skips, strict=True)
            ]
        base, sources = (tensors[0], tensors[1:]) if based else (None, tensors)
        operator = METHODS[method].build(dict(static), lam, based)
        return operator.merge(base, tuple(sources), coefficients, found, key).astype(dtype)

    return jax.jit(run, donate_argnums=0, keep_unused=True)
