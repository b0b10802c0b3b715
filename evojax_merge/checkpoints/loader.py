"""A checkpoint directory is loaded into a parameter tree, one tensor at a time."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from evojax_merge.checkpoints.adapter_factors import load_additions
from evojax_merge.checkpoints.checkpoint import Checkpoint, load_config
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import DTYPES, open_safetensors
from evojax_merge.checkpoints.reading import part_in
from evojax_merge.documents.errors import shown
from evojax_merge.documents.terminal import printable
from evojax_merge.models import Family
from evojax_merge.models.split import shardings
from evojax_merge.params.low_rank import Unchanged
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Array, Params

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_ALIGNMENT = 64
"""The alignment in bytes with which JAX's CPU backend adopts host memory without a copy."""


@dataclasses.dataclass(frozen=True)
class Model:
    """A network with its weights, all of one ``dtype``, in stacked leaves as the family says.

    ``directory`` is where it was loaded from. ``tokenizer_directory`` is where its tokenizer's
    files are, if they are elsewhere, as after an alignment. ``carrier`` is the checkpoint that the
    network is a part of, if it is one, and ``parts`` names what it is of it. Leaves that a
    checkpoint lacks are `evojax_merge.params.low_rank.Unchanged`. ``recipe`` is what the model was
    merged by, where `evojax_merge.merge` made it; ``model.recipe.save(path)`` keeps it.
    """

    family: Family
    config: Any
    hf_config: dict[str, Any]
    params: Params
    tokenizer: "PreTrainedTokenizerFast | None"
    directory: Path
    dtype: np.dtype
    tokenizer_directory: Path | None = None
    carrier: Checkpoint | None = None
    parts: tuple[str, ...] = ()
    recipe: Any = None

    def __repr__(self) -> str:
        leaves = self.family.layout(self.config).leaves.values()
        count = sum(math.prod(leaf.shape) for leaf in leaves)
        made = f"merged by {self.recipe!r}" if self.recipe is not None else str(self.directory)
        whole = f" ({', '.join(self.parts)})" if self.parts else ""
        name = f"{self.family.name}{whole}"
        return printable(f"Model({name}, {count:,} parameters, {self.dtype.name}, {made})")


def load(source: str | Path | Checkpoint, dtype: Any = None, *, mesh: Mesh | None = None) -> Model:
    """Load a checkpoint, streamed tensor by tensor into its stacked leaves.

    Beyond the parameters themselves this needs host memory for one tensor, or with an accelerator
    for one stacked leaf. On a mesh every process reads what its own devices hold, and nothing else.

    Args:
        source: A directory, a hub id (see `resolve`), or what `load_config` returned.
        dtype: The dtype of all parameters, by default the stored one. Where a checkpoint mixes
            several, it is float32, which holds each exactly.
        mesh: The devices that the parameters are split over (see `evojax_merge.models.split`); by
            default, all of them go to one device.

    Returns:
        The model. Of a checkpoint that is only described its parameters are shapes.

    Raises:
        CheckpointError: `load_config` refuses the checkpoint, or no checkpoint can have the dtype.
    """
    checkpoint = source if isinstance(source, Checkpoint) else load_config(source)
    wanted = checkpoint.dtype if dtype is None else _checked_dtype(dtype)
    return Model(
        family=checkpoint.family,
        config=checkpoint.config,
        hf_config=checkpoint.hf_config,
        params=_read_params(checkpoint, wanted, mesh),
        tokenizer=checkpoint.tokenizer,
        directory=checkpoint.directory,
        dtype=wanted,
        carrier=checkpoint.carrier,
        parts=checkpoint.parts,
    )


def _checked_dtype(dtype: Any) -> np.dtype:
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found not in DTYPES.values():
        names = ", ".join(one.name for one in DTYPES.values())
        raise CheckpointError(f"dtype is {shown(dtype)}; use {names}")
    return found


def _read_params(checkpoint: Checkpoint, dtype: np.dtype, mesh: Mesh | None) -> Params:
    parts: dict[str, list[tuple[str, int | None]]] = {}
    if checkpoint.described:
        return _shapes(checkpoint, dtype)
    for name, slot in checkpoint.slots.items():
        parts.setdefault(slot.path, []).append((name, slot.layer))
    abstract = checkpoint.family.abstract_params(checkpoint.config)
    shapes = flatten(abstract)
    layout = checkpoint.family.layout(checkpoint.config)
    where = {} if mesh is None else flatten(shardings(abstract, layout, mesh))
    with contextlib.ExitStack() as stack:
        read = _reader(checkpoint, stack)
        leaves: dict[str, Any] = {
            path: Unchanged(shapes[path].shape, dtype) for path in checkpoint.unchanged
        }
        for path, names in parts.items():
            shape = shapes[path].shape
            if mesh is None:
                leaves[path] = jax.device_put(_part(names, read, dtype, _whole(shape)))
            else:
                leaves[path] = _spread(names, read, dtype, shape, where[path])
    return unflatten(leaves)


def _shapes(checkpoint: Checkpoint, dtype: np.dtype) -> Params:
    """Return the shapes of the parameters, of a checkpoint that is described alone."""
    shapes = flatten(checkpoint.family.abstract_params(checkpoint.config))
    return unflatten(
        {
            path: Unchanged(leaf.shape, dtype)
            if path in checkpoint.unchanged
            else jax.ShapeDtypeStruct(leaf.shape, dtype)
            for path, leaf in shapes.items()
        }
    )


_Read = Callable[[str, tuple[slice, ...]], np.ndarray]
"""A function from the name of a tensor and an index to that part of the tensor."""


def _reader(checkpoint: Checkpoint, stack: contextlib.ExitStack) -> _Read:
    baked = checkpoint.baked
    additions = {} if baked is None else load_additions(baked.adapter)
    files: dict[Path, Any] = {}

    def read(name: str, index: tuple[slice, ...]) -> np.ndarray:
        info = checkpoint.tensors[name]
        if info.file not in files:
            files[info.file] = stack.enter_context(open_safetensors(info.file))
        if baked is None or name not in additions:
            return part_in(files[info.file], info, index)
        whole = part_in(files[info.file], info, _whole(info.shape))
        return additions[name].to(whole, baked.strength)[index]

    return read


def _spread(
    names: Sequence[tuple[str, int | None]],
    read: _Read,
    dtype: np.dtype,
    shape: tuple[int, ...],
    sharding: NamedSharding,
) -> Array:
    """Read the parts of a leaf that the devices of this process hold, each once."""
    held: dict[tuple[tuple[int, int], ...], np.ndarray] = {}

    def part(index: tuple[slice, ...] | None) -> np.ndarray:
        assert index is not None
        ends = [each.indices(size)[:2] for each, size in zip(index, shape, strict=True)]
        key = tuple(ends)
        if key not in held:
            held[key] = _part(names, read, dtype, tuple(slice(*end) for end in ends))
        return held[key]

    return jax.make_array_from_callback(shape, sharding, part)


def _part(
    names: Sequence[tuple[str, int | None]], read: _Read, dtype: np.dtype, index: tuple[slice, ...]
) -> np.ndarray:
    """Read a part of a leaf, tensor by tensor where it is stacked."""
    part = _empty(tuple(each.stop - each.start for each in index), dtype)
    for name, layer in names:
        if layer is None:
            part[...] = read(name, index)
        elif index[0].start <= layer < index[0].stop:
            part[layer - index[0].start] = read(name, index[1:])
    return part


def _whole(shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(0, size) for size in shape)


def _empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    skip = -raw.ctypes.data % _ALIGNMENT
    return raw[skip : skip + size].view(dtype).reshape(shape)
