"""The tensors that a merge has from its reference as they are: whole numbers, and buffers."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import DTYPES, TensorInfo, read_headers
from evojax_merge.models import Family

WHOLE: dict[str, np.dtype] = {
    "BOOL": np.dtype(np.bool_),
    "I8": np.dtype(np.int8),
    "I16": np.dtype(np.int16),
    "I32": np.dtype(np.int32),
    "I64": np.dtype(np.int64),
    "U8": np.dtype(np.uint8),
    "U16": np.dtype(np.uint16),
    "U32": np.dtype(np.uint32),
    "U64": np.dtype(np.uint64),
}
"""The dtypes of whole numbers, which are counted or looked up, and never averaged."""

CODES = {dtype: code for code, dtype in {**DTYPES, **WHOLE, "F64": np.dtype(np.float64)}.items()}
"""What a header calls the dtypes of tensors that a checkpoint may hold."""

_WEIGHTS = ("weight", "qweight", "weight_packed", "kernel")


def carried_of(
    directory: Path, family: Family, headers: Mapping[str, TensorInfo]
) -> dict[str, TensorInfo]:
    """Find the tensors of a checkpoint that are no parameters, by name.

    Args:
        directory: The directory of the checkpoint, for messages.
        family: The family, which says which tensors are buffers, if its models have any.
        headers: The headers of all tensors.

    Raises:
        CheckpointError: The weights themselves are whole numbers, so that they are quantised.
    """
    if family.carried is None:
        return {}
    whole = {name: info for name, info in headers.items() if info.dtype in WHOLE}
    packed = [name for name in whole if name.split(".")[-1] in _WEIGHTS]
    if packed:
        more = f" and {len(packed) - 1} more" if len(packed) > 1 else ""
        raise CheckpointError(
            f"{directory}: {packed[0]}{more} holds whole numbers, so that the model is quantised; "
            "merging needs the weights in float32, float16 or bfloat16"
        )
    known = set(CODES.values())
    buffers = {
        name: info
        for name, info in headers.items()
        if info.dtype in known and family.carried(name, info.shape)
    }
    return whole | buffers


def carried_by(directory: Path, family: Family) -> dict[str, TensorInfo]:
    """Find these tensors in a directory whose headers are not read yet.

    Raises:
        CheckpointError: The weights are quantised, or files are missing or damaged.
    """
    if family.carried is None:
        return {}
    return carried_of(directory, family, read_headers(directory))
