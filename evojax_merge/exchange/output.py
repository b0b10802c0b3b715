"""Safetensors files written a tensor at a time, in an order and with sizes known before."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np

from evojax_merge.checkpoints.headers import DTYPES, INDEX, WEIGHTS

_CODES = {dtype: code for code, dtype in DTYPES.items()}


class Piece(NamedTuple):
    """A tensor that will be written."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


class ShardWriter:
    """Writes tensors in the order announced; a context that leaves the last file complete."""

    def __init__(self, directory: Path, pieces: Sequence[Piece], max_shard_size: int) -> None:
        """Args:
        directory: Where to.
        pieces: All tensors, in order.
        max_shard_size: Bytes of tensors a file may hold; more are split and indexed.
        """
        self._directory = directory
        self._shards = list(_shards(pieces, max_shard_size))
        self._file: BinaryIO | None = None
        self._coming = [(shard, piece) for shard, own in enumerate(self._shards) for piece in own]
        self._coming.reverse()
        self._current: Piece | None = None
        self._left = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, elements: np.ndarray) -> None:
        """Write the next elements of the tensor that is being written, or of the one after it.

        Raises:
            ValueError: They are of another dtype, or more than it has left.
        """
        if not self._left:
            shard, piece = self._coming.pop()
            if piece is self._shards[shard][0]:
                self._start(shard)
            self._current, self._left = piece, piece.size
        assert self._current is not None
        assert self._file is not None
        if elements.dtype != self._current.dtype or elements.nbytes > self._left:
            raise ValueError(
                f"{self._current.name}: {elements.size} elements of {elements.dtype} are not the "
                f"{self._left} bytes of {self._current.dtype} that come next"
            )
        view = memoryview(np.ascontiguousarray(elements).reshape(-1).view(np.uint8))  # type: ignore[arg-type]
        while view:
            view = view[self._file.write(view) :]
        self._left -= elements.nbytes

    def write_index(self) -> None:
        """The index of several files; a single one has none."""
        if len(self._shards) == 1:
            return
        names = {
            piece.name: self._name(shard)
            for shard, pieces in enumerate(self._shards)
            for piece in pieces
        }
        total = sum(piece.size for pieces in self._shards for piece in pieces)
        index = {"metadata": {"total_size": total}, "weight_map": names}
        (self._directory / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")

    def _start(self, shard: int) -> None:
        if self._file is not None:
            self._file.close()
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        offset = 0
        for piece in self._shards[shard]:
            offsets = [offset, offset + piece.size]
            code = _CODES[piece.dtype]
            header[piece.name] = {"dtype": code, "shape": piece.shape, "data_offsets": offsets}
            offset += piece.size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._file = (self._directory / self._name(shard)).open("wb", buffering=0)
        self._file.write(len(text).to_bytes(8, "little") + text)

    def _name(self, shard: int) -> str:
        count = len(self._shards)
        return WEIGHTS if count == 1 else f"model-{shard + 1:05d}-of-{count:05d}.safetensors"


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
