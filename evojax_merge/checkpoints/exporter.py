"""A parameter tree is exported to an ordinary Hugging Face directory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
from evojax_merge.checkpoints.headers import TensorInfo, read_headers, stem_of
from evojax_merge.checkpoints.loader import Model
from evojax_merge.checkpoints.parts import take_parts
from evojax_merge.checkpoints.pipeline_exporter import (
    export_pipeline,
    is_pipeline_model,
    within_pipeline,
)
from evojax_merge.checkpoints.special_tokens import read_special_tokens
from evojax_merge.checkpoints.target import checked_target, is_single, replacement
from evojax_merge.checkpoints.tensor_files import MAX_SHARD_SIZE, ShardWriter
from evojax_merge.checkpoints.written import (
    carried_tensors,
    check_writable,
    merged_tensors,
    written_slots,
)
from evojax_merge.checkpoints.written_config import with_dtype, without_origin
from evojax_merge.documents.json_text import write_json
from evojax_merge.models import Slot
from evojax_merge.models.part import OUTSIDE
from evojax_merge.params.on_host import is_apart
from evojax_merge.params.tree import flatten


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

    A pipeline is written as a folder of diffusers, or as one file in the original layout of Stable
    Diffusion where the name of the target ends so.

    Args:
        model: The model, which is written in the dtypes of its parameters.
        directory: The directory of the export, or ``NAME.safetensors`` for a pipeline in one file.
            It must not exist, or be empty, unless ``overwrite``.
        max_shard_size: How many bytes of tensors a file may hold. A larger model is split and
            indexed.
        overwrite: Whether to replace what the directory holds.
        extra: The texts of files that are written beside the weights, by the files' names.

    Raises:
        CheckpointError: The directory holds something, parameters do not fit the configuration or
            are not finite, or a file that is carried over is damaged or leads out of the model's
            directory.
    """
    if is_pipeline_model(model):
        return export_pipeline(model, directory, max_shard_size, overwrite, extra or {})
    if is_single(directory):
        raise CheckpointError(
            f"{directory}: one file is written of pipelines of Stable Diffusion alone; give a "
            "directory"
        )
    target = checked_target(directory, overwrite)
    check_writable(model)
    slots = written_slots(model)
    tokenizer_from = model.tokenizer_directory or model.directory
    tokens = [read_special_tokens(directory) for directory in (model.directory, tokenizer_from)]
    config, generation = carried_settings(model.directory, _hf_config(model), *tokens)
    for directory in (tokenizer_from, model.directory):  # refused before weights are written
        carried_names(directory, (*TOKENIZER_FILES, *PROCESSOR_FILES))
    carried = _carried_headers(model, slots)
    with replacement(target) as work:
        tensors = [*merged_tensors(model.params, slots), *carried_tensors(carried)]
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


def lend(model: Model) -> None:
    """Give the process that exports a model the parts of its tensors that lie on devices here.

    They go one tensor at a time, in the order in which they are written, so that no host holds the
    whole. Processes that write nothing call it while another one exports.

    Raises:
        CheckpointError: A tensor holds NaN or infinity; whoever exports meets the same.
    """
    if is_pipeline_model(model):
        model = within_pipeline(model)
    slots, leaves = written_slots(model), flatten(model.params)
    apart = {name: slot for name, slot in slots.items() if is_apart(leaves[slot.path])}
    for tensor in merged_tensors(model.params, apart):
        tensor.read()


def _carried_headers(model: Model, slots: Mapping[str, Slot]) -> dict[str, TensorInfo]:
    """Find the tensors that are written as they are."""
    carrier = model.carrier
    if carrier is None:
        return carried_by(model.directory, model.family)
    part = take_parts(carrier, model.parts)
    merged = {*slots, *part.slots, *part.copies}
    headers = read_headers(carrier.directory)
    return {name: info for name, info in headers.items() if name not in merged}


def _hf_config(model: Model) -> dict[str, Any]:
    carrier = model.carrier
    given = model.hf_config if carrier is None else carrier.hf_config
    config = without_origin(given)
    fields = model.family.hf_fields(model.config)
    if carrier is None:
        config |= fields
    else:
        config |= _part_fields(carrier, model, fields)
    return with_dtype(config, model.dtype.name)


def _part_fields(carrier: Checkpoint, model: Model, fields: Mapping[str, object]) -> dict[str, Any]:
    """Return the fields of merged parts as the whole's ``config.json`` nests them."""
    assert carrier.family.parts is not None
    parts = carrier.family.parts(carrier.config)
    found: dict[str, Any] = {}
    for part in (parts[name] for name in model.parts):
        if part.hf_config is None:
            continue
        given = carrier.hf_config.get(part.hf_config) or {}
        changed: dict[str, Any] = {}
        if len(model.parts) == 1 and part.own_hf_config is not None:  # else it is as it was
            before = part.own_hf_config(carrier.hf_config)
            after = {**model.hf_config, **fields}
            changed = {name: value for name, value in after.items() if before.get(name) != value}
        if part.hf_config == OUTSIDE:
            found |= changed
            continue
        if not given and not changed:
            continue
        found[part.hf_config] = with_dtype({**given, **changed}, model.dtype.name)
    return found
