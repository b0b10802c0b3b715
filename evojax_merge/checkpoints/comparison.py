"""Tensors of files are compared a piece at a time."""

from collections.abc import Iterator

import numpy as np

from evojax_merge.checkpoints.headers import TensorInfo, open_safetensors
from evojax_merge.checkpoints.reading import rows_in

PIECE = 2**20
"""The number of elements compared at once."""


def same_tensor(info: TensorInfo, other: TensorInfo) -> bool:
    """Tell whether two tensors have one shape and hold the same numbers, in whatever dtype.

    They are read until they differ.
    """
    return info.shape == other.shape and all(
        np.array_equal(ours, theirs)
        for ours, theirs in zip(_pieces(info), _pieces(other), strict=True)
    )


def _pieces(info: TensorInfo) -> Iterator[np.ndarray]:
    width = int(np.prod(info.shape[1:], dtype=np.int64))
    rows = info.shape[0] if info.shape else 1
    step = rows if info.transposed else max(1, PIECE // max(1, width))
    with open_safetensors(info.file) as file:
        for first in range(0, rows, step):
            yield rows_in(file, info, first, min(first + step, rows)).astype(np.float32)
