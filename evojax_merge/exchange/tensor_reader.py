"""Tensors of checkpoints are read a piece at a time, where they lie in the file.

Files are mapped: a piece costs no copy, only the mapping of its pages. Pages count as memory of
this process, so they are given up again. A file must not shrink meanwhile, since the system ends a
process that reads pages which are no longer there.
"""

import json
import mmap
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from evojax_merge.checkpoints import Checkpoint, CheckpointError
from evojax_merge.checkpoints.headers import DTYPES
from evojax_merge.checkpoints.reading import read_tensor
from evojax_merge.operators.statistics.windows import ALIGNMENT, slack
from evojax_merge.params.finite import is_finite
from evojax_merge.params.on_disk import OnDisk, Window

AT_ONCE = 2**19
"""The number of elements copied or looked at at once."""

AROUND = 2**16
"""The bytes of a block. With a page the system maps those of its block that it holds."""


class Buffer:
    """A buffer is aligned memory that grows to the largest tensor it held."""

    def __init__(self) -> None:
        self._raw = np.empty(0, np.uint8)

    def take(self, size: int) -> np.ndarray:
        """Return the first ``size`` bytes. What the buffer held before is overwritten."""
        if self._raw.size < size + ALIGNMENT:
            self._raw = np.empty(size + ALIGNMENT, np.uint8)
        skip = -self._raw.ctypes.data % ALIGNMENT
        return self._raw[skip : skip + size]


class _File(NamedTuple):
    """A file, its header, and where its tensors begin."""

    whole: mmap.mmap
    header: dict[str, Any]
    start: int


class Reader:
    """A reader opens tensors by name, from any thread. Files close with their last tensor."""

    def __init__(self, checkpoints: Sequence[Checkpoint]) -> None:
        self._checkpoints = checkpoints
        self._files: dict[Path, _File] = {}
        self._opening = Lock()

    def open(
        self, model: int, name: str, buffer: Buffer, kept: int, checking: bool
    ) -> "Tensor | np.ndarray":
        """Open a tensor, whose header was audited when the checkpoint was opened.

        One that its file holds transposed is read whole, flat and in memory.

        Args:
            model: The index of the checkpoint.
            name: The name of the tensor.
            buffer: The buffer of the elements of which a copy is made.
            kept: How many bytes asked for are not given up while others are asked for.
            checking: Whether to look for NaN and infinity in elements that are asked for the first
                time, if they are first asked for in order. Copies are always looked at.
        """
        checkpoint = self._checkpoints[model]
        info = checkpoint.tensors[name]
        where = f"{checkpoint.directory}: {name}"
        if info.transposed:
            elements = read_tensor(info).reshape(-1)
            check_finite(elements, where)
            return elements
        file = self._file(info.file)
        size, dtype = int(np.prod(info.shape, dtype=np.int64)), DTYPES[info.dtype]
        begin = file.start + file.header[info.name]["data_offsets"][0]
        if info.rows is not None:
            begin += info.rows[0] * (size // info.shape[0]) * dtype.itemsize
        return Tensor(file.whole, begin, dtype, size, buffer, kept, checking, where)

    def _file(self, path: Path) -> _File:
        with self._opening:
            if path not in self._files:
                with path.open("rb") as file:
                    whole = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
                whole.madvise(mmap.MADV_SEQUENTIAL)  # from a disk a quarter faster
                start = 8 + int.from_bytes(whole[:8], "little")
                self._files[path] = _File(whole, json.loads(whole[8:start]), start)
            return self._files[path]


class Tensor(OnDisk):
    """The flat elements of a tensor. ``tensor[first:stop]`` gives some of them.

    Raises:
        CheckpointError: The file is truncated, or the tensor holds NaN or infinity.
    """

    def __init__(
        self,
        whole: mmap.mmap,
        begin: int,
        dtype: np.dtype,
        size: int,
        buffer: Buffer,
        kept: int,
        checking: bool,
        where: str,
    ) -> None:
        self.shape = (size,)
        self.dtype = dtype
        self._whole, self._begin = whole, begin
        self._buffer = buffer
        self._kept = kept
        self._where = where
        self._checked = 0 if checking else size
        self._shown = begin, begin
        if begin + size * dtype.itemsize > len(whole):
            raise CheckpointError(f"{where}: truncated; fetch or write it again")

    def __getitem__(self, elements: slice) -> np.ndarray:
        """Return these elements, where they lie in the file."""
        first, stop, _ = elements.indices(self.shape[0])
        found = self._elements(first, stop)
        if stop > self._checked:
            self._check(found)
            self._checked = stop
        return found

    def window(self, first: int, count: int) -> Window:
        """Return ``count`` elements from ``first`` on. Behind the last one come any others."""
        stop = min(first + count, self.shape[0])
        if stop > self._checked:
            self[first:stop]  # looks for NaN and infinity
        room = (count + slack(self.dtype)) * self.dtype.itemsize
        begin = self._begin + first * self.dtype.itemsize
        start = begin - begin % ALIGNMENT
        skip, apart = divmod(begin - start, self.dtype.itemsize)
        if apart or start + room > len(self._whole):  # as are the last elements of a file
            held = self._buffer.take(room).view(self.dtype)
            held[: stop - first] = self._elements(first, stop)
            held[stop - first :] = 0
            return Window(held, 0, count)
        self._show(start, start + room)
        held = np.frombuffer(self._whole, self.dtype, room // self.dtype.itemsize, start)
        return Window(held, skip, count)

    def copy(self) -> np.ndarray:
        """Copy all elements to aligned memory, which holds them until others are asked for."""
        size = self.shape[0]
        held = self._buffer.take(size * self.dtype.itemsize).view(self.dtype)
        for first in range(0, size, AT_ONCE):
            stop = min(first + AT_ONCE, size)
            held[first:stop] = self._elements(first, stop)
            self._check(held[first:stop])
        return held

    def check(self) -> None:
        """Look at all elements, whether or not they are checked otherwise."""
        size = self.shape[0]
        for first in range(0, size, AT_ONCE):
            self._check(self._elements(first, min(first + AT_ONCE, size)))

    def release(self) -> None:
        """Give up the memory of what was asked for."""
        begin, end = self._shown
        if begin < end:
            first, last = begin - begin % AROUND, end + -end % AROUND
            self._whole.madvise(mmap.MADV_DONTNEED, first, min(last, len(self._whole)) - first)
        self._shown = self._begin, self._begin

    def _elements(self, first: int, stop: int) -> np.ndarray:
        begin = self._begin + first * self.dtype.itemsize
        self._show(begin, begin + (stop - first) * self.dtype.itemsize)
        return np.frombuffer(self._whole, self.dtype, stop - first, begin)

    def _show(self, begin: int, end: int) -> None:
        """Note that bytes of the file are asked for, which may take the place of others."""
        shown = min(begin, self._shown[0]), max(end, self._shown[1])
        if shown[1] - shown[0] > self._kept:
            self.release()
            shown = begin, end
        self._shown = shown

    def _check(self, elements: np.ndarray) -> None:
        check_finite(elements, self._where)


def check_finite(elements: np.ndarray, where: str) -> None:
    """Check the elements of a tensor.

    Raises:
        CheckpointError: Some are NaN or infinity.
    """
    if not is_finite(elements):
        raise CheckpointError(f"{where} holds NaN or infinity; such a tensor cannot be merged")
