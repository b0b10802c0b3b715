"""Tensors of checkpoints, read a piece at a time into memory that is used again."""

import json
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from evojax_merge.checkpoints import Checkpoint, CheckpointError
from evojax_merge.checkpoints.headers import DTYPES
from evojax_merge.finite import is_finite
from evojax_merge.operators.span import OnDisk

ALIGNMENT = 64
"""Bytes; JAX's CPU backend adopts host memory aligned so without copying it."""

MOST_AT_ONCE = 2**30
"""Bytes of one system call."""


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
    """Opens tensors by name."""

    def __init__(self, checkpoints: Sequence[Checkpoint]) -> None:
        self._checkpoints = checkpoints
        self._files: dict[Path, tuple[int, dict[str, Any], int]] = {}
        self._maps: dict[int, mmap.mmap] = {}
        self._stack = ExitStack()

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def open(self, model: int, name: str, buffer: Buffer) -> "Tensor":
        """A tensor; its header was audited when the checkpoint was opened.

        Args:
            model: Index of the checkpoint.
            name: Of the tensor.
            buffer: Holds the elements read last.
        """
        checkpoint = self._checkpoints[model]
        info = checkpoint.tensors[name]
        descriptor, header, start = self._open(info.file)
        begin = start + header[name]["data_offsets"][0]
        where = f"{checkpoint.directory}: {name}"
        size = int(np.prod(info.shape, dtype=np.int64))
        return Tensor(descriptor, begin, DTYPES[info.dtype], size, buffer, where, self._map)

    def _map(self, descriptor: int) -> mmap.mmap:
        if descriptor not in self._maps:
            self._maps[descriptor] = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
        return self._maps[descriptor]

    def _open(self, path: Path) -> tuple[int, dict[str, Any], int]:
        if path not in self._files:
            descriptor = os.open(path, os.O_RDONLY)
            self._stack.callback(os.close, descriptor)
            length = int.from_bytes(os.pread(descriptor, 8, 0), "little")
            header = json.loads(os.pread(descriptor, length, 8))
            self._files[path] = descriptor, header, 8 + length
        return self._files[path]


class Tensor(OnDisk):
    """The elements of a tensor, flat: ``tensor[first:stop]`` reads some of them.

    Elements are looked at for NaN and infinity when they are read for the first time, if they are
    first read in order.

    Raises:
        CheckpointError: The file is truncated, or the tensor holds NaN or infinity.
    """

    def __init__(
        self,
        descriptor: int,
        begin: int,
        dtype: np.dtype,
        size: int,
        buffer: Buffer,
        where: str,
        map_file: Callable[[int], mmap.mmap],
    ) -> None:
        self.shape = (size,)
        self.dtype = dtype
        self._descriptor, self._begin = descriptor, begin
        self._buffer = buffer
        self._where = where
        self._map_file = map_file
        self._checked = 0

    def __getitem__(self, elements: slice) -> np.ndarray:
        """These elements, in memory that the next ones will take."""
        first, stop, _ = elements.indices(self.shape[0])
        size = (stop - first) * self.dtype.itemsize
        begin = self._begin + first * self.dtype.itemsize
        held = self._buffer.take(size)
        view = memoryview(held)  # type: ignore[arg-type]
        at = 0
        while at < size:
            got = os.preadv(self._descriptor, [view[at : at + MOST_AT_ONCE]], begin + at)
            if not got:
                raise self._truncated()
            at += got
        return self._sound(held.view(self.dtype), stop)

    @contextmanager
    def mapped(self, first: int, stop: int) -> Iterator[np.ndarray]:
        """Elements where they lie in the file, without a copy."""
        begin = self._begin + first * self.dtype.itemsize
        end = self._begin + stop * self.dtype.itemsize
        whole = self._map_file(self._descriptor)
        if end > len(whole):
            raise self._truncated()
        yield self._sound(np.frombuffer(whole, self.dtype, stop - first, begin), stop)
        start = begin - begin % mmap.PAGESIZE
        whole.madvise(mmap.MADV_DONTNEED, start, end - start)  # or they count as this process's

    def _sound(self, elements: np.ndarray, stop: int) -> np.ndarray:
        if stop > self._checked:
            if not is_finite(elements):
                raise CheckpointError(
                    f"{self._where} holds NaN or infinity; such a tensor cannot be merged"
                )
            self._checked = stop
        return elements

    def _truncated(self) -> CheckpointError:
        return CheckpointError(f"{self._where}: truncated; fetch or write it again")
