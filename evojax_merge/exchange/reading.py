"""Tensors of checkpoints, read one at a time into memory that is used again."""

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from evojax_merge.checkpoints import Checkpoint, CheckpointError
from evojax_merge.checkpoints.headers import DTYPES

ALIGNMENT = 64
"""Bytes; JAX's CPU backend adopts host memory aligned so without copying it."""

MOST_AT_ONCE = 2**30
"""Bytes of one system call."""

PIECE = 2**16
"""Elements looked at together for infinities: they stay in the cache."""

_BITS: dict[np.dtype, tuple[Any, int, int]] = {
    DTYPES["F32"]: (np.uint32, 0x7FFFFFFF, 0x7F800000),
    DTYPES["F16"]: (np.uint16, 0x7FFF, 0x7C00),
    DTYPES["BF16"]: (np.uint16, 0x7FFF, 0x7F80),
}
"""Of each dtype: an integer of its width, its bits but the sign, and those of infinity."""


class Buffer:
    """Aligned memory that grows to the largest tensor it held."""

    def __init__(self) -> None:
        self._raw = np.empty(0, np.uint8)

    def take(self, size: int) -> np.ndarray:
        """The first ``size`` bytes; what it held before is overwritten."""
        if self._raw.size < size + ALIGNMENT:
            self._raw = np.empty(size + ALIGNMENT, np.uint8)
        skip = -self._raw.ctypes.data % ALIGNMENT
        return self._raw[skip : skip + size]


class Reader:
    """Reads tensors by name."""

    def __init__(self, checkpoints: Sequence[Checkpoint]) -> None:
        self._checkpoints = checkpoints
        self._files: dict[Path, tuple[int, dict[str, Any], int]] = {}
        self._stack = ExitStack()

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def read(
        self, model: int, name: str, buffer: Buffer, first: int = 0, count: int | None = None
    ) -> np.ndarray:
        """Elements of a tensor, flat; its header was audited when the checkpoint was opened.

        Args:
            model: Index of the checkpoint.
            name: Of the tensor.
            buffer: Holds them until its next use.
            first: Of the elements.
            count: How many; all by default.

        Raises:
            CheckpointError: The file is truncated, or the tensor holds NaN or infinity.
        """
        checkpoint = self._checkpoints[model]
        info = checkpoint.tensors[name]
        dtype = DTYPES[info.dtype]
        descriptor, header, start = self._open(info.file)
        begin, end = header[name]["data_offsets"]
        begin += first * dtype.itemsize
        size = end - begin if count is None else count * dtype.itemsize
        held = buffer.take(size)
        view = memoryview(held)  # type: ignore[arg-type]
        at = 0
        while at < size:
            got = os.preadv(descriptor, [view[at : at + MOST_AT_ONCE]], start + begin + at)
            if not got:
                raise CheckpointError(f"{info.file}: truncated in {name}; fetch or write it again")
            at += got
        elements = held.view(dtype)
        if not is_finite(elements):
            raise CheckpointError(
                f"{checkpoint.directory}: {name} holds NaN or infinity; such a tensor cannot be "
                "merged"
            )
        return elements

    def _open(self, path: Path) -> tuple[int, dict[str, Any], int]:
        if path not in self._files:
            descriptor = os.open(path, os.O_RDONLY)
            self._stack.callback(os.close, descriptor)
            length = int.from_bytes(os.pread(descriptor, 8, 0), "little")
            header = json.loads(os.pread(descriptor, length, 8))
            self._files[path] = descriptor, header, 8 + length
        return self._files[path]


def is_finite(elements: np.ndarray) -> bool:
    """Whether no element is NaN or infinite: by the bits of the exponent, as fast as memory."""
    kind, mask, infinite = _BITS[elements.dtype]
    bits = elements.view(kind)
    held = np.empty(min(PIECE, bits.size), kind)
    for start in range(0, bits.size, PIECE):
        part = bits[start : start + PIECE]
        np.bitwise_and(part, kind(mask), out=held[: part.size])
        if held[: part.size].max() >= infinite:
            return False
    return True
