"""Parts of a pipeline that are not merged may come from other checkpoints than the carrier."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from evojax_merge.checkpoints.checkpoint import Checkpoint
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import TensorInfo
from evojax_merge.checkpoints.pipeline_exporter import TOKENIZERS
from evojax_merge.documents.errors import shown
from evojax_merge.documents.nearest import nearest
from evojax_merge.models.diffusion.params import layout


def with_carriers(
    chosen: Checkpoint, others: Mapping[str, Checkpoint], given: Sequence[Checkpoint]
) -> Checkpoint:
    """Return merged parts whose carrier has some parts from other checkpoints.

    A carrier without tokenizers, as a single file is, has those of another merged model that has a
    text encoder like its own.

    Args:
        chosen: The merged parts of the carrier.
        others: The checkpoints that parts are taken from, by the names of the parts: pipelines, or
            the part alone.
        given: All models that are merged.

    Raises:
        CheckpointError: There is no such part, it is merged, or it does not fit the others.
    """
    carrier = chosen.carrier
    if carrier is None or not carrier.family.pipeline:
        if others:
            raise CheckpointError(
                f"{chosen.directory}: is no pipeline, and model.carriers gives parts of pipelines; "
                "leave it out"
            )
        return chosen
    for part, other in others.items():
        if part in chosen.parts:
            raise CheckpointError(f"model.carriers: {part} is merged; leave it out there")
        carrier = _with_part(carrier, part, other)
    lent = {name: folder for one in given for name, folder in _lent(carrier, one).items()}
    components = {**lent, **carrier.components}
    carrier = dataclasses.replace(carrier, components=components)
    return dataclasses.replace(chosen, carrier=carrier)


def _with_part(carrier: Checkpoint, part: str, other: Checkpoint) -> Checkpoint:
    """Return a pipeline with a part of another checkpoint in the place of its own."""
    if part not in carrier.config.present:
        raise CheckpointError(
            f"model.carriers: {carrier.directory} has no part {shown(part)}; it has "
            f"{', '.join(carrier.config.present)}{nearest(part, carrier.config.present)}"
        )
    prefix = f"{part}/"
    if other.family.pipeline:
        if part not in other.config.present:
            raise CheckpointError(f"model.carriers: {other.directory} has no {part}")
        config, hf_config = getattr(other.config, part), other.hf_config[part]
        tensors, carried = other.tensors, other.carried
        components = {name: other.components[name] for name in _folders(part, other)}
    else:
        assert carrier.family.parts is not None
        family = carrier.family.parts(carrier.config)[part].family
        if other.family is not family:
            raise CheckpointError(
                f"model.carriers: {other.directory} is a {other.family.name}, and no {part}"
            )
        config, hf_config = other.config, other.hf_config
        tensors = {prefix + name: info for name, info in other.tensors.items()}
        carried, components = {}, {part: other.directory}
    changed = dataclasses.replace(carrier.config, **{part: config})
    try:
        changed.check()
    except ValueError as error:
        raise CheckpointError(f"model.carriers.{part}: {other.directory}: {error}") from error
    return dataclasses.replace(
        carrier,
        config=changed,
        hf_config={**carrier.hf_config, part: hf_config},
        tensors=_replaced(carrier.tensors, tensors, prefix),
        carried=_replaced(carrier.carried, carried, prefix),
        slots=layout(changed).slots,
        components={**carrier.components, **components},
    )


def _replaced(
    own: Mapping[str, TensorInfo], other: Mapping[str, TensorInfo], prefix: str
) -> dict[str, TensorInfo]:
    kept = {name: one for name, one in own.items() if not name.startswith(prefix)}
    return kept | {name: one for name, one in other.items() if name.startswith(prefix)}


def _folders(part: str, pipeline: Checkpoint) -> list[str]:
    """Return the folders that go with a part: its own, and that of its tokenizer."""
    return [name for name in (part, TOKENIZERS.get(part, part)) if name in pipeline.components]


def _lent(carrier: Checkpoint, model: Checkpoint) -> dict[str, Path]:
    """Return the tokenizers of a model's carrier whose encoders have as many tokens."""
    other = model.carrier
    if other is None or not other.family.pipeline:
        return {}
    ours, theirs = carrier.config.encoders, other.config.encoders
    return {
        folder: other.components[folder]
        for part, folder in TOKENIZERS.items()
        if folder in other.components
        and part in ours
        and part in theirs
        and ours[part].text.vocab_size == theirs[part].text.vocab_size
    }
