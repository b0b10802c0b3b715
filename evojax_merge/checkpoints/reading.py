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


def rows_in(file: safe_open, info: TensorInfo, first: int, stop: int) -> np.ndarray:
    """Read some rows of a tensor from its open file. A transposed one is read whole for them."""
    if info.transposed or not info.shape:
        return tensor_in(file, info)[slice(first, stop) if info.shape else ...]
    start = 0 if info.rows is None else info.rows[0]
    stored = file.get_slice(info.name)[start + first : start + stop]
    return np.asarray(stored).reshape(stop - first, *info.shape[1:])
