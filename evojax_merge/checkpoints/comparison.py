"""Tensors of files are compared a piece at a time."""

from collections.abc import Iterator

import numpy as np

from evojax_merge.checkpoints.headers import TensorInfo, open_safetensors

PIECE = 2**20
"""The number of elements compared at once."""


def same_tensor(info: TensorInfo, name: str, other: TensorInfo, other_name: str) -> bool:
    """Tell whether two tensors have one shape and hold the same numbers, in whatever dtype.

    They are read until they differ.
    """
    return info.shape == other.shape and all(
        np.array_equal(ours, theirs)
        for ours, theirs in zip(_pieces(info, name), _pieces(other, other_name), strict=True)
    )


def _pieces(info: TensorInfo, name: str) -> Iterator[np.ndarray]:
    width = int(np.prod(info.shape[1:], dtype=np.int64))
    step = max(1, PIECE // max(1, width))
    with open_safetensors(info.file) as file:
        rows = file.get_slice(name)
        for first in range(0, info.shape[0], step):
            yield rows[first : min(first + step, info.shape[0])].astype(np.float32)
