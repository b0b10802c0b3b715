"""The factors of a LoRA (Hu et al., 2021, arXiv 2106.09685), read once its files are known."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from evojax_merge.checkpoints.checkpoint import Checkpoint
from evojax_merge.checkpoints.comparison import same_tensor
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import TensorInfo, adapter_file, open_safetensors
from evojax_merge.models import Slot


class Pair(NamedTuple):
    """The factors of one weight matrix.

    Attributes:
        slot: The slot of the matrix.
        a: The name of the tensor ``[rank, in]``, or ``[rank, rows]`` for a token table.
        b: The name of the tensor ``[out, rank]``, or ``[width, rank]`` for a token table. Factors
            of convolutions have a kernel besides: ``a`` that of the weight, ``b`` one of a pixel.
        table: Whether the matrix is a token table, whose factors PEFT stores transposed.
        rank: The rank of the factors.
        scale: The scale of their product.
    """

    slot: Slot
    a: str
    b: str
    table: bool
    rank: int
    scale: float


class Addition(NamedTuple):
    """An addition to a matrix is ``scale · left @ right``.

    Attributes:
        left: The left factor, float32 ``[rows, rank]``.
        right: The right factor, float32 ``[rank, columns]``.
        scale: The scale of their product.
    """

    left: np.ndarray
    right: np.ndarray
    scale: float

    def to(self, weight: np.ndarray, strength: float = 1.0) -> np.ndarray:
        """Return the sum with a weight, in float32."""
        added = np.float32(self.scale * strength) * (self.left @ self.right)
        return weight.astype(np.float32) + added.reshape(weight.shape)


@dataclasses.dataclass(frozen=True)
class Adapter:
    """Everything about an adapter but its weights.

    Attributes:
        directory: The directory of the adapter's files, or its one file.
        base: The model that the adapter is read onto.
        pairs: The factors of every adapted matrix.
        copies: The tensors of the base that the file repeats: name -> name in the base.
    """

    directory: Path
    base: Checkpoint
    pairs: tuple[Pair, ...]
    copies: Mapping[str, str]


def load_additions(adapter: Adapter) -> dict[str, Addition]:
    """Read what an adapter adds to tensors of its base, by the tensors' names.

    Args:
        adapter: The adapter, read by `load_adapter_config`.

    Raises:
        CheckpointError: The file is not as `load_adapter` needs it.
    """
    tensors = read_factors(adapter)
    names = {slot: name for name, slot in adapter.base.slots.items()}
    found = {}
    for pair in adapter.pairs:
        b, a = tensors[pair.b], tensors[pair.a]
        left, right = (a.T, b.T) if pair.table else flat_factors(b, a)
        found[names[pair.slot]] = Addition(left, right, pair.scale)
    return found


def read_factors(adapter: Adapter) -> dict[str, np.ndarray]:
    """Read the factors by name, once all of the file is known to be of use."""
    path = adapter_file(adapter.directory)
    with open_safetensors(path) as file:
        tensors = {
            name: file.get_tensor(name).astype(np.float32)
            for pair in adapter.pairs
            for name in (pair.a, pair.b)
        }
        copies = {name: file.get_slice(name) for name in adapter.copies}
        headers = {
            name: TensorInfo(path, name, part.get_dtype(), tuple(part.get_shape()))
            for name, part in copies.items()
        }
    problems = [
        f"{name}: is not the base's {original}; it was trained or resized besides, and is not "
        "merged"
        for name, original in adapter.copies.items()
        if not same_tensor(headers[name], adapter.base.tensors[original])
    ]
    for name, tensor in tensors.items():
        if broken := int(np.count_nonzero(~np.isfinite(tensor))):
            problems.append(f"{name}: {broken} of {tensor.size} elements are NaN or infinite")
    if problems:
        raise CheckpointError(
            f"{adapter.directory}: the adapter cannot be used:\n  " + "\n  ".join(problems)
        )
    return tensors


def flat_factors(b: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return factors as matrices ``[out, rank]`` and ``[rank, columns]``, those of kernels too."""
    return b.reshape(len(b), -1), a.reshape(len(a), -1)
