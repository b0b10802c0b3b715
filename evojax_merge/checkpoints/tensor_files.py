"""Safetensors files are written a piece at a time, in any order. Their sizes are known before."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np

from evojax_merge.checkpoints.carried_tensors import CODES
from evojax_merge.checkpoints.headers import STEM, TensorInfo
from evojax_merge.documents.files import naming
from evojax_merge.documents.json_text import write_json

MAX_SHARD_SIZE = 5_000_000_000

_DTYPES = {code: dtype for dtype, code in CODES.items()}


class Piece(NamedTuple):
    """A tensor that will be written."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        """The size of the tensor in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @classmethod
    def of(cls, name: str, info: TensorInfo) -> Self:
        """Make a tensor that is like a stored one, under another name perhaps."""
        return cls(name, info.shape, _DTYPES[info.dtype])


class ShardWriter:
    """A writer takes pieces of tensors from any thread.

    It is a context that closes the files in the end, and writes the index if there are several.

    Args:
        directory: The directory of the files.
        pieces: All tensors, in the order of the files.
        max_shard_size: How many bytes of tensors a file may hold. More are split and indexed.
        stem: What the files' names begin with.
        durable: Whether the files must outlast a power cut once they are closed.
        metadata: The metadata of every file.
    """

    def __init__(
        self,
        directory: Path,
        pieces: Sequence[Piece],
        max_shard_size: int,
        stem: str = STEM,
        durable: bool = False,
        metadata: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._metadata = {"format": "pt", **metadata}
        self._directory = directory
        self._durable = durable
        self._stem = stem
        self._shards = list(_shards(pieces, max_shard_size))
        self._stack = ExitStack()
        self._descriptors: dict[Path, int] = {}
        self._places: dict[str, tuple[Piece, Path, int]] = {}

    def __enter__(self) -> Self:
        for shard in range(len(self._shards)):
            self._start(shard)
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        with self._stack:
            if failed is None:
                self._finish()

    def write(self, name: str, first: int, elements: np.ndarray) -> None:
        """Write the elements of a tensor from ``first`` on.

        Raises:
            ValueError: The elements are of another dtype, or more than the tensor has there.
        """
        piece, path, begin = self._places[name]
        at = first * piece.dtype.itemsize
        if elements.dtype != piece.dtype or at + elements.nbytes > piece.size:
            raise ValueError(
                f"{name}: {elements.size} elements of {elements.dtype} from {first} on are none of "
                f"the {piece.size} bytes of {piece.dtype}"
            )
        view = memoryview(np.ascontiguousarray(elements).reshape(-1).view(np.uint8))  # type: ignore[arg-type]
        with naming(path):
            while view:
                done = os.pwrite(self._descriptors[path], view, begin + at)
                view, at = view[done:], at + done

    def _finish(self) -> None:
        for path, descriptor in self._descriptors.items() if self._durable else ():
            with naming(path):
                os.fsync(descriptor)
        if len(self._shards) == 1:
            return
        names = {
            piece.name: self._name(shard)
            for shard, pieces in enumerate(self._shards)
            for piece in pieces
        }
        total = sum(piece.size for pieces in self._shards for piece in pieces)
        index = {"metadata": {"total_size": total}, "weight_map": names}
        write_json(self._directory / f"{self._stem}.safetensors.index.json", index)

    def _start(self, shard: int) -> None:
        header: dict[str, Any] = {"__metadata__": self._metadata}
        offset = 0
        for piece in self._shards[shard]:
            offsets = [offset, offset + piece.size]
            code = CODES[piece.dtype]
            header[piece.name] = {"dtype": code, "shape": piece.shape, "data_offsets": offsets}
            offset += piece.size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        path = self._directory / self._name(shard)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        self._stack.callback(os.close, descriptor)
        self._descriptors[path] = descriptor
        with naming(path):
            os.pwrite(descriptor, len(text).to_bytes(8, "little") + text, 0)
        for piece in self._shards[shard]:
            begin = 8 + len(text) + header[piece.name]["data_offsets"][0]
            self._places[piece.name] = piece, path, begin

    def _name(self, shard: int) -> str:
        count = len(self._shards)
        part = "" if count == 1 else f"-{shard + 1:05d}-of-{count:05d}"
        return f"{self._stem}{part}.safetensors"


def _shards(pieces: Iterable[Piece], max_shard_size: int) -> Iterable[list[Piece]]:
    shard: list[Piece] = []
    size = 0
    for piece in pieces:
        if shard and size + piece.size > max_shard_size:
            yield shard
            shard, size = [], 0
        shard.append(piece)
        size += piece.size
    yield shard
