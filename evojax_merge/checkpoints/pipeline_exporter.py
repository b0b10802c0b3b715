"""A pipeline is exported to a folder of diffusers, or to one file in the original layout."""

import contextlib
import dataclasses
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from evojax_merge.checkpoints.carried_files import carried_names
from evojax_merge.checkpoints.checkpoint import Checkpoint, load_config
from evojax_merge.checkpoints.directory import PICKLES, member
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import TensorInfo
from evojax_merge.checkpoints.loader import Model
from evojax_merge.checkpoints.pipeline_writer import PipelineWriter, folder_writer, single_writer
from evojax_merge.checkpoints.pipelines import INDEX_KEY, MODEL_INDEX, SCHEDULER_CONFIG
from evojax_merge.checkpoints.target import (
    checked_file,
    checked_target,
    file_replacement,
    is_single,
    replacement,
)
from evojax_merge.checkpoints.tensor_files import MAX_SHARD_SIZE, Piece
from evojax_merge.checkpoints.written import (
    Written,
    carried_tensors,
    check_writable,
    merged_tensors,
    written_slots,
)
from evojax_merge.checkpoints.written_config import with_dtype, without_origin
from evojax_merge.documents.json_text import write_json
from evojax_merge.models.diffusion.config import SCHEDULER, TEXT, TEXT_2, UNET, VAE
from evojax_merge.models.family import DIFFUSION

TOKENIZERS = {TEXT: "tokenizer", TEXT_2: "tokenizer_2"}
"""The folder of the tokenizer of each text encoder."""

_CLASSES = {"tokenizer": "CLIPTokenizer", "tokenizer_2": "CLIPTokenizer"}
_ABSENT = ("feature_extractor", "image_encoder")


def is_pipeline_model(model: Model) -> bool:
    """Tell whether a model is a pipeline, or a part that a pipeline carries."""
    return DIFFUSION in (model.family, getattr(model.carrier, "family", None))


def export_pipeline(
    model: Model,
    target: str | Path,
    max_shard_size: int,
    overwrite: bool,
    extra: Mapping[str, str],
) -> Path:
    """Write a pipeline, with all that its carrier holds besides what is merged.

    Args:
        model: The merged parts, with their carrier, or a whole pipeline.
        target: A directory, or ``NAME.safetensors`` for one file.
        max_shard_size: How many bytes of tensors a file of a folder may hold.
        overwrite: Whether to replace what is there.
        extra: The texts of files that are written beside the folders, by the files' names. One
            file has them in its metadata.

    Raises:
        CheckpointError: There is something that is not to be replaced, parameters do not fit or
            are not finite, or a folder lacks what a pipeline needs.
    """
    check_writable(model)
    model = within_pipeline(model)
    carrier = model.carrier
    assert carrier is not None
    tensors = [*merged_tensors(model.params, written_slots(model))]
    pieces = [tensor.piece for tensor in tensors]
    with pipeline_files(
        carrier, pieces, model.dtype.name, target, overwrite, max_shard_size, extra
    ) as writer:
        for tensor in tensors:
            writer.write(tensor.piece.name, 0, tensor.read())
    return Path(target).expanduser().absolute()


def within_pipeline(model: Model) -> Model:
    """The same model with the pipeline that it is written in, which is its own if it is whole."""
    if model.carrier is not None:
        return model
    whole = load_config(model.directory)
    return dataclasses.replace(model, carrier=whole, parts=whole.config.present)


@contextlib.contextmanager
def pipeline_files(
    carrier: Checkpoint,
    merged: Sequence[Piece],
    dtype: str,
    target: str | Path,
    overwrite: bool,
    max_shard_size: int = MAX_SHARD_SIZE,
    extra: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[PipelineWriter]:
    """Yield a writer of a pipeline's merged tensors. All else is written when the block succeeds.

    Args:
        carrier: The pipeline that has all else.
        merged: The merged tensors, by the whole's names.
        dtype: The dtype that they were rounded to.
        target: A directory, or ``NAME.safetensors`` for one file.
        overwrite: Whether to replace what is there.
        max_shard_size: How many bytes of tensors a file of a folder may hold.
        extra: The texts of files beside the folders, or in the metadata of one file, by the files'
            names.

    Raises:
        CheckpointError: There is something that is not to be replaced, or a folder lacks what a
            pipeline needs.
    """
    written = {piece.name for piece in merged}
    rest = {name: info for name, info in carrier.tensors.items() if name not in written}
    if is_single(target):
        if carrier.directory.is_file():
            rest |= carrier.carried
        file, kept = checked_file(target, overwrite), [*carried_tensors(rest)]
        with file_replacement(file) as work:
            pieces = [*merged, *(tensor.piece for tensor in kept)]
            with single_writer(work / file.name, pieces, carrier, extra) as writer:
                yield writer
                _write(kept, writer)
        return
    check_components(carrier)
    kept = [*carried_tensors(rest | _of_parts(carrier))]
    parts = {piece.name.partition("/")[0] for piece in merged}
    with replacement(checked_target(target, overwrite)) as work:
        pieces = [*merged, *(tensor.piece for tensor in kept)]
        with folder_writer(work, pieces, carrier, max_shard_size) as writer:
            yield writer
            _write(kept, writer)
        write_components(work, carrier, parts, dtype)
        for name, text in extra.items():
            (work / name).write_text(text, encoding="utf-8")


def check_components(carrier: Checkpoint) -> None:
    """Check that a pipeline can be written as a folder, which has tokenizers.

    Raises:
        CheckpointError: A tokenizer is not there, as none is in a single file.
    """
    wanted = [folder for part, folder in TOKENIZERS.items() if part in carrier.config.present]
    missing = [folder for folder in wanted if folder not in carrier.components]
    if missing:
        raise CheckpointError(
            f"{carrier.directory}: has no {' and no '.join(missing)}, which a folder of diffusers "
            "needs; give one of the models as a folder that has them, or write one file "
            "(NAME.safetensors)"
        )


def write_components(work: Path, carrier: Checkpoint, merged: Collection[str], dtype: str) -> None:
    """Write all of a pipeline's folder but its weights.

    Args:
        work: The directory of the pipeline, which has a folder for each part.
        carrier: The pipeline.
        merged: The names of the parts that were merged.
        dtype: The dtype that these were rounded to.
    """
    for part in carrier.config.present:
        config = without_origin(carrier.hf_config[part])
        if part in merged:
            config = with_dtype(config, dtype)
        write_json(work / part / "config.json", config)
    for name, folder in carrier.components.items():
        if name not in carrier.config.present:
            _copy(folder, work / name)
    if SCHEDULER not in carrier.components and SCHEDULER in carrier.hf_config:
        (work / SCHEDULER).mkdir()
        write_json(work / SCHEDULER / SCHEDULER_CONFIG, carrier.hf_config[SCHEDULER])
    write_json(work / MODEL_INDEX, _index(carrier))


def _write(tensors: Sequence[Written], writer: PipelineWriter) -> None:
    for tensor in tensors:
        writer.write(tensor.piece.name, 0, tensor.read())


def _of_parts(carrier: Checkpoint) -> dict[str, TensorInfo]:
    """Return the carried tensors that stand in the folder of a part."""
    folders = tuple(f"{part}/" for part in carrier.config.present)
    return {name: info for name, info in carrier.carried.items() if name.startswith(folders)}


def _copy(folder: Path, target: Path) -> None:
    """Copy the files of a component, but no pickled weights.

    Raises:
        CheckpointError: A file leads out of the folder, or is no regular file.
    """
    target.mkdir()
    for name in carried_names(folder, ("*",)):
        if Path(name).suffix not in PICKLES:
            shutil.copyfile(member(folder, name), target / name)


def _index(carrier: Checkpoint) -> dict[str, Any]:
    """Make the ``model_index.json`` of a pipeline: its own, or one for what a single file holds."""
    hf_config = carrier.hf_config
    found: dict[str, Any] = hf_config.get(INDEX_KEY) or {
        "_class_name": hf_config["_class_name"],
        **{name: [None, None] for name in _ABSENT},
        **({} if TEXT_2 in hf_config else {"safety_checker": [None, None]}),
        SCHEDULER: ["diffusers", hf_config[SCHEDULER]["_class_name"]],
        UNET: ["diffusers", hf_config[UNET]["_class_name"]],
        VAE: ["diffusers", hf_config[VAE]["_class_name"]],
    }
    found = without_origin(found)
    for part in (TEXT, TEXT_2):
        if part in carrier.config.present:
            given = hf_config[part].get("architectures") or ["CLIPTextModel"]
            found[part] = ["transformers", given[0]]
            folder = TOKENIZERS[part]
            found.setdefault(folder, ["transformers", _CLASSES[folder]])
    return dict(sorted(found.items()))
