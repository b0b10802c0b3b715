"""The tensors that an export writes: parameters, and what goes with them as it is."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import DTYPES, TensorInfo
from evojax_merge.checkpoints.loader import Model
from evojax_merge.checkpoints.parts import part_slots
from evojax_merge.checkpoints.reading import read_tensor
from evojax_merge.checkpoints.tensor_files import Piece
from evojax_merge.models import Slot
from evojax_merge.params.finite import is_finite
from evojax_merge.params.on_host import numbers
from evojax_merge.params.tree import flatten

_FLOATS = frozenset(DTYPES.values())


class Written(NamedTuple):
    """A tensor that will be written. ``read`` gives its numbers."""

    piece: Piece
    read: Callable[[], np.ndarray]


def check_writable(model: Model) -> None:
    """Check that parameters fit the configuration, and can be written.

    Raises:
        CheckpointError: Some do not. All of these are listed.
    """
    layout, leaves = model.family.layout(model.config), flatten(model.params)
    problems = list(layout.misfits(leaves))
    problems += [
        f"{path} is {leaf.dtype}, which checkpoints of this family cannot be"
        for path, leaf in leaves.items()
        if np.dtype(leaf.dtype) not in _FLOATS
    ]
    if problems:
        raise CheckpointError("parameters do not fit the model:\n  " + "\n  ".join(problems))


def written_slots(model: Model) -> dict[str, Slot]:
    """Return the slots of a model's parameters by the names that they are written under.

    Those of a part are the names that the whole has for them.
    """
    carrier = model.carrier
    if carrier is None:
        return model.family.layout(model.config).slots
    assert carrier.family.holding is not None
    whole = carrier.family.holding(carrier.config, model.config)
    return part_slots(carrier.family, whole, model.parts)


def merged_tensors(params: Mapping[str, Any], slots: Mapping[str, Slot]) -> Iterator[Written]:
    """Yield the tensors of parameters, which are checked for NaN and infinity as they are read."""
    leaves = flatten(dict(params))
    for name, slot in slots.items():
        leaf = leaves[slot.path]
        read = functools.partial(_finite, name, leaf, slot.layer)
        yield Written(Piece(name, slot.shape, np.dtype(leaf.dtype)), read)


def carried_tensors(headers: Mapping[str, TensorInfo]) -> Iterator[Written]:
    """Yield tensors that are written as they are."""
    for name, info in headers.items():
        yield Written(Piece.of(name, info), functools.partial(read_tensor, info))


def _finite(name: str, leaf: Any, layer: int | None) -> np.ndarray:
    """Return the numbers of a leaf, or of a layer of it.

    Raises:
        CheckpointError: The numbers hold NaN or infinity.
    """
    tensor = numbers(leaf, layer).reshape(-1)
    if not is_finite(tensor):
        raise CheckpointError(
            f"{name}: holds NaN, or numbers that {tensor.dtype} cannot hold; nothing was "
            "written. Give another model.dtype, or smaller weights"
        )
    return tensor
