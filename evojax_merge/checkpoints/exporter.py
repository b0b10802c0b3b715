"""From a parameter tree to an ordinary Hugging Face directory."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from evojax_merge.checkpoints.carried_files import (
    GENERATION,
    carried_names,
    carried_settings,
    carry,
)
from evojax_merge.checkpoints.directory import PROCESSOR_FILES, TOKENIZER_FILES
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import DTYPES, INDEX, WEIGHTS
from evojax_merge.checkpoints.loader import Model
from evojax_merge.checkpoints.special_tokens import read_special_tokens
from evojax_merge.documents.files import naming
from evojax_merge.models.family import Slot
from evojax_merge.params.finite import is_finite
from evojax_merge.params.tree import flatten

MAX_SHARD_SIZE = 5_000_000_000

_FOLDERS = ("additional_chat_templates",)
"""Folders that an export may have."""

# Where the reference came from, and code that is never run, are no part of a merge.
_DROPPED = ("_name_or_path", "auto_map")
_CODES = {dtype: code for code, dtype in DTYPES.items()}


def export(
    model: Model,
    directory: str | Path,
    *,
    max_shard_size: int = MAX_SHARD_SIZE,
    overwrite: bool = False,
    extra: Mapping[str, str] | None = None,
) -> Path:
    """Write a checkpoint that transformers loads: weights, configuration, tokenizer.

    The directory appears complete or not at all. Weights are written one tensor at a time;
    files of the tokenizer and of a processor are copied from the model's directory. Ids of special
    tokens in ``config.json`` and ``generation_config.json`` are those of the tokenizer.

    Args:
        model: What to write, in the dtypes of its parameters.
        directory: Where to; it must not exist, or be empty, unless ``overwrite``.
        max_shard_size: Bytes of tensors a file may hold; a larger model is split and indexed.
        overwrite: Replace what the directory holds.
        extra: Text files to write beside, by name.

    Raises:
        CheckpointError: The directory holds something, parameters do not fit the configuration or
            are not finite, or a file that is carried over is damaged or leads out of the model's
            directory.
    """
    target = checked_target(directory, overwrite)
    slots = _checked_slots(model)
    tokenizer_from = model.tokenizer_directory or model.directory
    tokens = [read_special_tokens(directory) for directory in (model.directory, tokenizer_from)]
    config, generation = carried_settings(model.directory, _hf_config(model), *tokens)
    for directory in (tokenizer_from, model.directory):  # refused before weights are written
        carried_names(directory, (*TOKENIZER_FILES, *PROCESSOR_FILES))
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        _write_weights(work, model.params, slots, max_shard_size)
        write_json(work / "config.json", config)
        if generation is not None:
            write_json(work / GENERATION, generation)
        carry(tokenizer_from, work, TOKENIZER_FILES)
        carry(model.directory, work, PROCESSOR_FILES)
        for name, text in (extra or {}).items():
            (work / name).write_text(text, encoding="utf-8")
        work.chmod(0o777 & ~umask())
        swap(work, target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return target


def checked_target(directory: str | Path, overwrite: bool) -> Path:
    """The absolute path of a directory that an export may be written to.

    An export replaces the whole directory. So a directory is only replaced if it holds what an
    export holds: files, and no folders in which there may be something else.

    Raises:
        CheckpointError: It is a file, or holds something that is not to be replaced.
    """
    target = Path(directory).expanduser().absolute()
    if target.exists() and not target.is_dir():
        raise CheckpointError(f"{target}: is a file; give a directory to write to")
    held = sorted(target.iterdir()) if target.is_dir() else []
    if held and not overwrite:
        raise CheckpointError(f"{target}: is not empty; choose another, or set overwrite")
    folders = [path.name for path in held if path.is_dir() and path.name not in _FOLDERS]
    if folders:
        raise CheckpointError(
            f"{target}: holds the folder {folders[0]}, which no export has and which would go with "
            "all else in it; choose another directory, or remove it yourself"
        )
    return target


def _checked_slots(model: Model) -> dict[str, Slot]:
    leaves = flatten(model.params)
    expected = flatten(model.family.abstract_params(model.config))
    problems = [f"missing: {path}" for path in expected if path not in leaves]
    for path, leaf in leaves.items():
        if path not in expected:
            problems.append(f"unexpected: {path}")
        elif leaf.shape != expected[path].shape:
            problems.append(f"{path} is {leaf.shape}, the model has {expected[path].shape}")
        elif np.dtype(leaf.dtype) not in _CODES:
            problems.append(f"{path} is {leaf.dtype}, which checkpoints of this family cannot be")
    if problems:
        raise CheckpointError("parameters do not fit the model:\n  " + "\n  ".join(problems))
    return model.family.slots(model.config)


def _write_weights(
    work: Path, params: Mapping[str, Any], slots: dict[str, Slot], max_shard_size: int
) -> None:
    leaves = flatten(dict(params))
    shards = list(_shards(leaves, slots, max_shard_size))
    weight_map: dict[str, str] = {}
    total = 0
    for number, shard in enumerate(shards, start=1):
        file = (
            WEIGHTS if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        )
        total += _write_safetensors(work / file, leaves, shard)
        weight_map |= dict.fromkeys(shard, file)
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        write_json(work / INDEX, index)


def _shards(
    leaves: Mapping[str, Any], slots: dict[str, Slot], max_shard_size: int
) -> Iterator[dict[str, Slot]]:
    shard: dict[str, Slot] = {}
    size = 0
    for name, slot in slots.items():
        needed = _nbytes(leaves, slot)
        if shard and size + needed > max_shard_size:
            yield shard
            shard, size = {}, 0
        shard[name] = slot
        size += needed
    yield shard


def _write_safetensors(path: Path, leaves: Mapping[str, Any], shard: dict[str, Slot]) -> int:
    """Write one file, a tensor at a time; the library would want all of them in memory at once.

    Format: the header's length as a little-endian uint64, the header as JSON, the tensors.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, slot in shard.items():
        end = offset + _nbytes(leaves, slot)
        code = _CODES[np.dtype(leaves[slot.path].dtype)]
        header[name] = {"dtype": code, "shape": slot.shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with naming(path), path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name, slot in shard.items():
            leaf = leaves[slot.path]
            tensor = np.ascontiguousarray(
                jax.device_get(leaf if slot.layer is None else leaf[slot.layer])
            )
            if not is_finite(tensor.reshape(-1)):
                raise CheckpointError(
                    f"{name}: holds NaN, or numbers that {tensor.dtype} cannot hold; nothing was "
                    "written. Give another model.dtype, or smaller weights"
                )
            file.write(tensor.reshape(-1).view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())
    return offset


def _nbytes(leaves: Mapping[str, Any], slot: Slot) -> int:
    return int(np.prod(slot.shape)) * np.dtype(leaves[slot.path].dtype).itemsize


def _hf_config(model: Model) -> dict[str, Any]:
    config = {name: value for name, value in model.hf_config.items() if name not in _DROPPED}
    config |= model.family.hf_fields(model.config)
    for name in {"dtype", "torch_dtype"} & config.keys() or {"dtype"}:
        config[name] = model.dtype.name
    return config


def swap(work: Path, target: Path) -> None:
    """Put the finished directory in place; what was there goes only once it can no longer fail."""
    if not target.exists():
        work.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
    target.rename(old)
    try:
        work.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old)


def recover(target: Path) -> None:
    """Clear away what killed exports left beside their target.

    One that was killed in `swap` may have taken the old directory away without putting the new one
    in place; the old one is put back. Nobody else may be exporting there.
    """
    left = re.compile(rf"\.{re.escape(target.name)}-(?P<old>old-)?[a-z0-9_]{{8}}")  # of mkdtemp
    for path in sorted(target.parent.glob(".*")):
        if path.is_symlink() or not path.is_dir() or not (found := left.fullmatch(path.name)):
            continue
        if found["old"] and not target.exists() and any(path.iterdir()):
            path.rename(target)
        else:
            shutil.rmtree(path)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    with naming(path):
        path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
