"""A checkpoint on disk is known by its configuration and headers, which must fit each other."""

import dataclasses
import functools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evojax_merge.checkpoints.adapter_config import is_adapter_directory
from evojax_merge.checkpoints.carried_tensors import carried_of
from evojax_merge.checkpoints.comparison import same_tensor
from evojax_merge.checkpoints.contents import Contents
from evojax_merge.checkpoints.described import headers_of, lacks_weights
from evojax_merge.checkpoints.directory import member, read_json, resolve
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import DTYPES, TensorInfo, read_headers
from evojax_merge.checkpoints.pipelines import is_pipeline, read_pipeline
from evojax_merge.checkpoints.single_files import read_single_file
from evojax_merge.checkpoints.tokenizers import load_tokenizer
from evojax_merge.models import Family, Slot, family_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from evojax_merge.checkpoints.adapter_factors import Adapter


class Baked(NamedTuple):
    """A LoRA that is added to a model before anything is merged.

    Attributes:
        adapter: The LoRA, read onto the model.
        strength: What its task vector is multiplied by.
    """

    adapter: "Adapter"
    strength: float


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Everything about a checkpoint but its weights.

    Attributes:
        directory: The directory of the checkpoint's files, or its file where it is a single one.
        family: The model family that ``config.json`` selects.
        config: The family's reading of ``config.json``.
        hf_config: The content of ``config.json`` as it stands.
        tensors: The parameters' headers by tensor name, without buffers and tied copies.
        copies: The names of tied copies that the file also stores -> the names that they repeat.
        slots: The place of each of ``tensors`` in the parameter tree.
        carried: The headers of what is no parameter and goes with a merge as it is.
        carrier: The checkpoint that this one is a part of, if it is one. A merge of parts has all
            else from there.
        parts: The names of the parts of a whole that this one is. Without a carrier it is a model
            that stands for a part of other models, and is unchanged in their other parts.
        components: The folders of a pipeline by name, such as ``tokenizer``, where there are some.
        baked: The LoRA that is added to the weights as they are read, if one is.
        described: Whether shapes are all that is wanted of it. Its weights may not be there.
    """

    directory: Path
    family: Family
    config: Any
    hf_config: dict[str, Any]
    tensors: Mapping[str, TensorInfo]
    copies: Mapping[str, str]
    slots: Mapping[str, Slot]
    carried: Mapping[str, TensorInfo] = dataclasses.field(default_factory=dict)
    carrier: "Checkpoint | None" = None
    parts: tuple[str, ...] = ()
    components: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    baked: Baked | None = None
    described: bool = False

    @functools.cached_property
    def tokenizer(self) -> "PreTrainedTokenizerFast | None":
        """The checkpoint's tokenizer, or None when it carries none."""
        return load_tokenizer(self.directory)

    @functools.cached_property
    def unchanged(self) -> frozenset[str]:
        """The paths of the leaves that the files lack, and in which it is as its base is."""
        held = {slot.path for slot in self.slots.values()}
        return frozenset(self.family.layout(self.config).leaves.keys() - held)

    @property
    def dtype(self) -> np.dtype:
        """The narrowest dtype that holds every stored tensor exactly."""
        stored = {DTYPES[tensor.dtype] for tensor in self.tensors.values()}
        return stored.pop() if len(stored) == 1 else np.dtype(np.float32)


def load_config(source: str | Path, described: bool = False) -> Checkpoint:
    """Read and audit a checkpoint's configuration and headers, but no weights.

    A checkpoint that is tied by its ``config.json`` and also stores a head is the exception: the
    two tables are compared. If they differ, both are kept, as transformers does, and
    ``config`` is that of an untied model.

    Args:
        source: A directory, a single file in the original layout of Stable Diffusion, or a hub id
            (see `resolve`).
        described: Whether shapes are all that is wanted. Weights then need not be there, and none
            are fetched from the hub.

    Raises:
        CheckpointError: Files are missing or damaged, the model is of no supported family, or
            tensors are missing, unexpected, of another shape or of an unsupported dtype. Every
            such tensor is listed.
    """
    directory = resolve(source, weights=not described)
    if directory.is_file():
        return _fitted(directory, read_single_file(directory), described)
    if is_adapter_directory(directory):
        raise CheckpointError(
            f"{directory}: is a LoRA adapter, no model; list it in model.sources and give the "
            "model that it was trained on as model.base"
        )
    if is_pipeline(directory):
        return _fitted(directory, read_pipeline(directory, described), described)
    hf_config = read_json(member(directory, "config.json"))
    if hf_config.get("quantization_config"):
        raise CheckpointError(
            f"{directory}: is quantised; merging needs the weights in float32, float16 or bfloat16"
        )
    try:
        family = family_of(hf_config)
    except ValueError as error:
        raise CheckpointError(f"{directory}: {error}") from error
    if described and lacks_weights(directory):
        return _described(directory, family, hf_config)
    stored = functools.cache(lambda: _stored(directory, family))
    try:
        config = family.read_config(
            hf_config, lambda: {name: info.shape for name, info in stored()[0].items()}
        )
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{directory}: {error}") from error
    layout = family.layout(config)
    slots, aliases = layout.slots, layout.aliases
    headers, carried = stored()
    copies = [
        (name, headers.pop(name), copied) for name, copied in aliases.items() if name in headers
    ]
    _audit(directory, slots, headers, copies)
    apart = [
        (name, copied) for name, info, copied in copies if not same_tensor(headers[copied], info)
    ]
    for name, copied in apart if hf_config.get("tie_word_embeddings", True) else ():
        warnings.warn(
            f"{directory}: config.json ties {name} to {copied}, but the file stores two different "
            "ones: both are kept, as transformers does; set tie_word_embeddings to false there",
            stacklevel=2,
        )
    if apart:
        headers |= {name: info for name, info, _ in copies}
        config = family.untied(config)
        slots, copies = family.layout(config).slots, []
    held = {name: copied for name, _, copied in copies}
    return Checkpoint(
        directory, family, config, hf_config, headers, held, slots, carried, described=described
    )


def _described(directory: Path, family: Family, hf_config: dict[str, Any]) -> Checkpoint:
    """Make the checkpoint of a configuration, whose tensors are those that it says."""
    try:
        config = family.config_from_hf(hf_config)
    except ValueError as error:
        raise CheckpointError(f"{directory}: {error}") from error
    slots = family.layout(config).slots
    headers = headers_of(slots, hf_config, directory)
    return Checkpoint(directory, family, config, hf_config, headers, {}, slots, described=True)


def _fitted(directory: Path, contents: Contents, described: bool) -> Checkpoint:
    """Make the checkpoint of a pipeline, whose headers must fit its configuration."""
    family, (hf_config, tensors, carried, components) = family_of(contents.hf_config), contents
    try:
        shapes = {name: info.shape for name, info in tensors.items()}
        config = family.read_config(hf_config, lambda: shapes)
    except ValueError as error:
        raise CheckpointError(f"{directory}: {error}") from error
    slots = family.layout(config).slots
    if described and not tensors:
        tensors = headers_of(slots, hf_config, directory)
    _audit(directory, slots, tensors, ())
    return Checkpoint(
        directory,
        family,
        config,
        hf_config,
        tensors,
        {},
        slots,
        carried,
        components=components,
        described=described,
    )


def _stored(directory: Path, family: Family) -> tuple[dict[str, TensorInfo], dict[str, TensorInfo]]:
    """Read the headers of the parameters, and of what is carried."""
    headers = {
        name: info
        for name, info in read_headers(directory).items()
        if not (family.ignored and family.ignored.fullmatch(name))
    }
    carried = carried_of(directory, family, headers)
    return {name: info for name, info in headers.items() if name not in carried}, carried


def _audit(
    directory: Path,
    slots: Mapping[str, Slot],
    headers: Mapping[str, TensorInfo],
    copies: Sequence[tuple[str, TensorInfo, str]],
) -> None:
    problems = [
        f"missing: {name} {list(slot.shape)}" for name, slot in slots.items() if name not in headers
    ]
    for name, info in headers.items():
        if name not in slots:
            problems.append(f"unexpected: {name} {list(info.shape)} in {info.file.name}")
        elif info.shape != slots[name].shape:
            problems.append(
                f"wrong shape: {name} is {list(info.shape)}, "
                f"config.json makes it {list(slots[name].shape)}"
            )
    for name, info, copied in copies:
        if copied in headers and info.shape != headers[copied].shape:
            problems.append(
                f"wrong shape: {name} is {list(info.shape)}, the tied {copied} is "
                f"{list(headers[copied].shape)}"
            )
    problems += [
        f"unsupported dtype: {name} is {info.dtype}, supported are {', '.join(DTYPES)}"
        for name, info in [*headers.items(), *((name, info) for name, info, _ in copies)]
        if info.dtype not in DTYPES
    ]
    if problems:
        raise CheckpointError(
            f"{directory}: weights do not fit config.json:\n  " + "\n  ".join(problems)
        )
