"""A parameter tree is exported to an ordinary Hugging Face directory."""

import functools
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from evojax_merge.checkpoints.carried_tensors import CODES, carried_by, read_tensor
from evojax_merge.checkpoints.directory import PROCESSOR_FILES, TOKENIZER_FILES
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import DTYPES, TensorInfo, stem_of
from evojax_merge.checkpoints.loader import Model
from evojax_merge.checkpoints.special_tokens import read_special_tokens
from evojax_merge.documents.files import naming
from evojax_merge.models import Slot
from evojax_merge.params.finite import is_finite
from evojax_merge.params.tree import flatten

MAX_SHARD_SIZE = 5_000_000_000

_FOLDERS = ("additional_chat_templates",)
"""The folders that an export may have."""

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
    tokens in ``config.json`` and ``generation_config.json`` are those of the tokenizer.

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
    slots = _checked_slots(model)
    tokenizer_from = model.tokenizer_directory or model.directory
    tokens = [read_special_tokens(directory) for directory in (model.directory, tokenizer_from)]
    config, generation = carried_settings(model.directory, _hf_config(model), *tokens)
    for directory in (tokenizer_from, model.directory):  # refused before weights are written
        carried_names(directory, (*TOKENIZER_FILES, *PROCESSOR_FILES))
    carried = carried_by(model.directory, model.family)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        tensors = [*_merged(model.params, slots), *_carried(carried)]
        _write_weights(work, tensors, stem_of(model.directory), max_shard_size)
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
    """Return the absolute path of a directory that an export may be written to.

    An export replaces the whole directory. So a directory is only replaced if it holds what an
    export holds: files, and no folders in which there may be something else.

    Raises:
        CheckpointError: The path is a file, or holds something that is not to be replaced.
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
        elif np.dtype(leaf.dtype) not in _FLOATS:
            problems.append(f"{path} is {leaf.dtype}, which checkpoints of this family cannot be")
    if problems:
        raise CheckpointError("parameters do not fit the model:\n  " + "\n  ".join(problems))
    return model.family.layout(model.config).slots


class _Tensor(NamedTuple):
    """A tensor that will be written. ``read`` gives its numbers, flat."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]

    @property
    def size(self) -> int:
        """The size of the tensor in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def _merged(params: Mapping[str, Any], slots: Mapping[str, Slot]) -> Iterator[_Tensor]:
    leaves = flatten(dict(params))
    for name, slot in slots.items():
        leaf = leaves[slot.path]
        read = functools.partial(_finite, name, leaf, slot.layer)
        yield _Tensor(name, np.dtype(leaf.dtype), slot.shape, read)


def _carried(headers: Mapping[str, TensorInfo]) -> Iterator[_Tensor]:
    dtypes = {code: dtype for dtype, code in CODES.items()}
    for name, info in headers.items():
        read = functools.partial(read_tensor, name, info)
        yield _Tensor(name, dtypes[info.dtype], info.shape, read)


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


def _write_weights(work: Path, tensors: Sequence[_Tensor], stem: str, max_shard_size: int) -> None:
    shards = list(_shards(tensors, max_shard_size))
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        part = "" if len(shards) == 1 else f"-{number:05d}-of-{len(shards):05d}"
        file = f"{stem}{part}.safetensors"
        _write_safetensors(work / file, shard)
        weight_map |= {tensor.name: file for tensor in shard}
    if len(shards) > 1:
        total = sum(tensor.size for tensor in tensors)
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        write_json(work / f"{stem}.safetensors.index.json", index)


def _shards(tensors: Iterable[_Tensor], max_shard_size: int) -> Iterator[list[_Tensor]]:
    shard: list[_Tensor] = []
    size = 0
    for tensor in tensors:
        if shard and size + tensor.size > max_shard_size:
            yield shard
            shard, size = [], 0
        shard.append(tensor)
        size += tensor.size
    yield shard


def _write_safetensors(path: Path, shard: Sequence[_Tensor]) -> None:
    """Write one file, a tensor at a time. The library would want all of them in memory at once.

    The format is the header's length as a little-endian uint64, the header as JSON, the tensors.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in shard:
        end = offset + tensor.size
        code = CODES[tensor.dtype]
        header[tensor.name] = {"dtype": code, "shape": tensor.shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with naming(path), path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for tensor in shard:
            numbers = np.ascontiguousarray(tensor.read()).reshape(-1)
            file.write(numbers.view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())


def _hf_config(model: Model) -> dict[str, Any]:
    config = {name: value for name, value in model.hf_config.items() if name not in _DROPPED}
    config |= model.family.hf_fields(model.config)
    return with_dtype(config, model.dtype.name)


def with_dtype(hf_config: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """Make a ``config.json`` that names the dtype of the weights, in the word that it has for it.

    Configurations of diffusers have no such word.
    """
    default = {"dtype"} if "model_type" in hf_config else set()
    names = {"dtype", "torch_dtype"} & hf_config.keys() or default
    return {**hf_config, **dict.fromkeys(names, dtype)}


def swap(work: Path, target: Path) -> None:
    """Put the finished directory in place. What was there goes once nothing can fail any more."""
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
    in place. The old one is put back. Nobody else may be exporting there.
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
