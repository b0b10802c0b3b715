"""A parameter tree is exported to an ordinary Hugging Face directory."""

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from evojax_merge.checkpoints.carried_files import (
    GENERATION,
    carried_names,
    carried_settings,
    carry,
)
from evojax_merge.checkpoints.carried_tensors import carried_by
from evojax_merge.checkpoints.checkpoint import Checkpoint
from evojax_merge.checkpoints.directory import PROCESSOR_FILES, TOKENIZER_FILES
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import DTYPES, TensorInfo, read_headers, stem_of
from evojax_merge.checkpoints.loader import Model
from evojax_merge.checkpoints.parts import part_slots, take_parts
from evojax_merge.checkpoints.reading import read_tensor
from evojax_merge.checkpoints.special_tokens import read_special_tokens
from evojax_merge.checkpoints.target import checked_target, replacement
from evojax_merge.checkpoints.tensor_files import MAX_SHARD_SIZE, Piece, ShardWriter
from evojax_merge.documents.json_text import write_json
from evojax_merge.models import Slot
from evojax_merge.params.finite import is_finite
from evojax_merge.params.tree import flatten

# Where the reference came from, and code that is never run, are no part of a merge.
_DROPPED = ("_name_or_path", "auto_map")
_FLOATS = frozenset(DTYPES.values())


def export(
    model: Model,
    directory: str | Path,
    *,
    max_shard_size: int = MAX_SHARD_SIZE,
    overwrite: bool = False,
    extra: Mapping[str, str] | None = None,
) -> Path:
    """Write a checkpoint that transformers loads: weights, configuration, tokenizer.

    The directory appears complete or not at all. Weights are written one tensor at a time.
    Files of the tokenizer and of a processor are copied from the model's directory. Ids of special
    tokens in ``config.json`` and ``generation_config.json`` are those of the tokenizer. A part
    of a whole is written with all else that its carrier holds, as it is there.

    Args:
        model: The model, which is written in the dtypes of its parameters.
        directory: The directory of the export. It must not exist, or be empty, unless
            ``overwrite``.
        max_shard_size: How many bytes of tensors a file may hold. A larger model is split and
            indexed.
        overwrite: Whether to replace what the directory holds.
        extra: The texts of files that are written beside the weights, by the files' names.

    Raises:
        CheckpointError: The directory holds something, parameters do not fit the configuration or
            are not finite, or a file that is carried over is damaged or leads out of the model's
            directory.
    """
    target = checked_target(directory, overwrite)
    _check(model)
    slots = _written_slots(model)
    tokenizer_from = model.tokenizer_directory or model.directory
    tokens = [read_special_tokens(directory) for directory in (model.directory, tokenizer_from)]
    config, generation = carried_settings(model.directory, _hf_config(model), *tokens)
    for directory in (tokenizer_from, model.directory):  # refused before weights are written
        carried_names(directory, (*TOKENIZER_FILES, *PROCESSOR_FILES))
    carried = _carried_headers(model, slots)
    with replacement(target) as work:
        tensors = [*_merged(model.params, slots), *_carried(carried)]
        stem = stem_of(model.directory)
        pieces = [tensor.piece for tensor in tensors]
        with ShardWriter(work, pieces, max_shard_size, stem, durable=True) as writer:
            for tensor in tensors:
                writer.write(tensor.piece.name, 0, tensor.read())
        write_json(work / "config.json", config)
        if generation is not None:
            write_json(work / GENERATION, generation)
        carry(tokenizer_from, work, TOKENIZER_FILES)
        carry(model.directory, work, PROCESSOR_FILES)
        for name, text in (extra or {}).items():
            (work / name).write_text(text, encoding="utf-8")
    return target


def _check(model: Model) -> None:
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


def _written_slots(model: Model) -> dict[str, Slot]:
    """Return the slots of a model's parameters by the names that they are written under.

    Those of a part are the names that the whole has for them.
    """
    carrier = model.carrier
    if carrier is None:
        return model.family.layout(model.config).slots
    assert carrier.family.holding is not None
    whole = carrier.family.holding(carrier.config, model.config)
    return part_slots(carrier.family, whole, model.parts)


def _carried_headers(model: Model, slots: Mapping[str, Slot]) -> dict[str, TensorInfo]:
    """Find the tensors that are written as they are."""
    carrier = model.carrier
    if carrier is None:
        return carried_by(model.directory, model.family)
    part = take_parts(carrier, model.parts)
    merged = {*slots, *part.slots, *part.copies}
    headers = read_headers(carrier.directory)
    return {name: info for name, info in headers.items() if name not in merged}


class _Tensor(NamedTuple):
    """A tensor that will be written. ``read`` gives its numbers."""

    piece: Piece
    read: Callable[[], np.ndarray]


def _merged(params: Mapping[str, Any], slots: Mapping[str, Slot]) -> Iterator[_Tensor]:
    leaves = flatten(dict(params))
    for name, slot in slots.items():
        leaf = leaves[slot.path]
        read = functools.partial(_finite, name, leaf, slot.layer)
        yield _Tensor(Piece(name, slot.shape, np.dtype(leaf.dtype)), read)


def _carried(headers: Mapping[str, TensorInfo]) -> Iterator[_Tensor]:
    for name, info in headers.items():
        read = functools.partial(read_tensor, info)
        yield _Tensor(Piece.of(name, info), read)


def _finite(name: str, leaf: Any, layer: int | None) -> np.ndarray:
    """Return the numbers of a leaf, or of a layer of it.

    Raises:
        CheckpointError: The numbers hold NaN or infinity.
    """
    tensor = np.asarray(jax.device_get(leaf if layer is None else leaf[layer])).reshape(-1)
    if not is_finite(tensor):
        raise CheckpointError(
            f"{name}: holds NaN, or numbers that {tensor.dtype} cannot hold; nothing was "
            "written. Give another model.dtype, or smaller weights"
        )
    return tensor


def _hf_config(model: Model) -> dict[str, Any]:
    carrier = model.carrier
    given = model.hf_config if carrier is None else carrier.hf_config
    config = {name: value for name, value in given.items() if name not in _DROPPED}
    fields = model.family.hf_fields(model.config)
    if carrier is None:
        config |= fields
    else:
        config |= _part_fields(carrier, model, fields)
    return with_dtype(config, model.dtype.name)


def _part_fields(
    carrier: Checkpoint, model: Model, fields: Mapping[str, object]
) -> dict[str, dict[str, Any]]:
    """Return the fields of merged parts as the whole's ``config.json`` nests them."""
    assert carrier.family.parts is not None
    parts = carrier.family.parts(carrier.config)
    found = {}
    for part in (parts[name] for name in model.parts):
        if part.hf_config is None:
            continue
        given = carrier.hf_config.get(part.hf_config) or {}
        changed: dict[str, Any] = {}
        if len(model.parts) == 1 and part.own_hf_config is not None:  # else it is as it was
            before = part.own_hf_config(carrier.hf_config)
            after = {**model.hf_config, **fields}
            changed = {name: value for name, value in after.items() if before.get(name) != value}
        if not given and not changed:
            continue
        found[part.hf_config] = with_dtype({**given, **changed}, model.dtype.name)
    return found


def with_dtype(hf_config: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """Make a ``config.json`` that names the dtype of the weights, in the word that it has for it.

    Configurations of diffusers have no such word.
    """
    default = {"dtype"} if "model_type" in hf_config else set()
    names = {"dtype", "torch_dtype"} & hf_config.keys() or default
    return {**hf_config, **dict.fromkeys(names, dtype)}
