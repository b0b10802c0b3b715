"""Tensors are read from files as their headers say that they are taken."""

import numpy as np
from safetensors import safe_open

from evojax_merge.checkpoints.headers import TensorInfo, open_safetensors


def read_tensor(info: TensorInfo) -> np.ndarray:
    """Read the numbers of a tensor, in its dtype and its shape."""
    with open_safetensors(info.file) as file:
        return tensor_in(file, info)


def tensor_in(file: safe_open, info: TensorInfo) -> np.ndarray:
    """Read the numbers of a tensor from its open file, in its dtype and its shape."""
    if info.rows is not None:
        stored = file.get_slice(info.name)[slice(*info.rows)]
    else:
        stored = file.get_tensor(info.name)
    return np.asarray(stored.T if info.transposed else stored).reshape(info.shape)


def part_in(file: safe_open, info: TensorInfo, index: tuple[slice, ...]) -> np.ndarray:
    """Read a part of a tensor from its open file, and nothing else where it is stored alike."""
    if all(range(*one.indices(n)) == range(n) for one, n in zip(index, info.shape, strict=True)):
        return tensor_in(file, info)
    stored = file.get_slice(info.name)
    if info.rows is None and not info.transposed and tuple(stored.get_shape()) == info.shape:
        return np.asarray(stored[index])
    return tensor_in(file, info)[index]


def rows_in(file: safe_open, info: TensorInfo, first: int, stop: int) -> np.ndarray:
    """Read some rows of a tensor from its open file. A transposed one is read whole for them."""
    if info.transposed or not info.shape:
        return tensor_in(file, info)[slice(first, stop) if info.shape else ...]
    start = 0 if info.rows is None else info.rows[0]
    stored = file.get_slice(info.name)[start + first : start + stop]
    return np.asarray(stored).reshape(stop - first, *info.shape[1:])
