"""Parts of a checkpoint, which are merged while the rest of it stays as it is."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evojax_merge.checkpoints.checkpoint import Checkpoint, load_config
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.loader import Model, load
from evojax_merge.documents.errors import shown
from evojax_merge.documents.nearest import nearest
from evojax_merge.models import Family, Slot, kind_of
from evojax_merge.models.part import Part


def has_parts(checkpoint: Checkpoint) -> bool:
    """Tell whether a checkpoint consists of several parts, some of which can be merged alone."""
    return checkpoint.family.parts is not None


def default_parts(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the parts that are merged if nothing is said, which are models by themselves.

    A checkpoint without parts has none.
    """
    if checkpoint.family.parts is None:
        return ()
    parts = checkpoint.family.parts(checkpoint.config).values()
    return tuple(part.name for part in parts if part.family is not None and part.merged)


def load_parts(
    source: str | Path | Checkpoint, dtype: Any = None, parts: Sequence[str] | None = None
) -> Model:
    """Load some parts of a checkpoint, or all of one that has none.

    What a model that sees answers is computed from its language model, and from features of the
    pictures, for which the carrier is at hand.

    Args:
        source: A directory, a hub id, or what `load_config` returned.
        dtype: The dtype of all parameters, by default the stored one.
        parts: The names of the parts; by default, those that are merged if nothing is said.

    Raises:
        CheckpointError: The checkpoint is damaged or has no such part, or no checkpoint can have
            the dtype.
    """
    checkpoint = source if isinstance(source, Checkpoint) else load_config(source)
    return load(take_parts(checkpoint, parts or default_parts(checkpoint)), dtype)


def take_parts(checkpoint: Checkpoint, names: Sequence[str]) -> Checkpoint:
    """Take some parts of a checkpoint as a checkpoint of its own.

    One part that is a model by itself becomes a checkpoint of its family, as if its files held
    nothing else. Several stay a checkpoint of the family of the whole. A checkpoint of a family
    without parts is returned as it is.

    Args:
        checkpoint: The whole.
        names: The names of the parts, at least one.

    Raises:
        CheckpointError: The checkpoint has no such part.
    """
    family, config = checkpoint.family, checkpoint.config
    if family.parts is None or family.only is None:
        return checkpoint
    parts = family.parts(config)
    for name in names:
        if name not in parts:
            raise CheckpointError(
                f"{checkpoint.directory}: has no part {shown(name)}; it has "
                f"{', '.join(parts)}{nearest(name, parts)}"
            )
    alone = _alone(parts, names)
    if alone is None:
        changes: dict[str, Any] = {"config": family.only(config, names)}
    else:
        assert alone.own_hf_config is not None
        own = alone.own_hf_config(checkpoint.hf_config)
        changes = {"family": alone.family, "config": alone.config, "hf_config": own}
    slots = part_slots(family, config, names, checkpoint.slots)
    return dataclasses.replace(
        checkpoint,
        **changes,
        tensors={name: info for name, info in checkpoint.tensors.items() if name in slots},
        copies={name: of for name, of in checkpoint.copies.items() if of in slots},
        slots=slots,
        carried={},
        carrier=checkpoint,
        parts=tuple(name for name in parts if name in names),
    )


def as_part(checkpoint: Checkpoint, whole: Checkpoint) -> Checkpoint:
    """Let a model by itself stand for the part that it is, unchanged in the other merged parts.

    Args:
        checkpoint: The model, such as a language model.
        whole: The merged parts of another checkpoint, as `take_parts` returns them.

    Raises:
        CheckpointError: The model is none of these parts.
    """
    if whole.family.parts is None:
        return checkpoint
    parts = whole.family.parts(whole.config)
    part = next((one for one in parts.values() if one.family is checkpoint.family), None)
    if part is None:
        raise CheckpointError(
            f"{checkpoint.directory}: is a {checkpoint.family.name}, which is none of the merged "
            f"parts ({', '.join(parts)})"
        )
    assert part.own_hf_config is not None
    assert whole.family.holding is not None
    kind, own = (kind_of(c) for c in (part.own_hf_config(whole.hf_config), checkpoint.hf_config))
    if own != kind:
        raise CheckpointError(
            f"{checkpoint.directory}: model_type is {own}, that of the {part.name} of "
            f"{whole.directory} is {kind}"
        )
    slots = {
        name: slot._replace(path=f"{part.prefix}.{slot.path}")
        for name, slot in checkpoint.slots.items()
    }
    return dataclasses.replace(
        checkpoint,
        family=whole.family,
        config=whole.family.holding(whole.config, checkpoint.config),
        hf_config=whole.hf_config,
        slots=slots,
        carried={},
        parts=(part.name,),
    )


def part_slots(
    family: Family, config: Any, names: Sequence[str], slots: Mapping[str, Slot] | None = None
) -> dict[str, Slot]:
    """Return the slots of some parts by the names that the whole has for their tensors.

    Args:
        family: The family of the whole.
        config: The configuration of the whole.
        names: The names of the parts.
        slots: The slots of the whole; by default, those of its layout.
    """
    assert family.parts is not None
    parts = family.parts(config)
    prefixes = tuple(f"{parts[name].prefix}." for name in names)
    of_whole = family.layout(config).slots if slots is None else slots
    alone = _alone(parts, names)
    return {
        name: slot if alone is None else slot._replace(path=slot.path.removeprefix(prefixes[0]))
        for name, slot in of_whole.items()
        if slot.path.startswith(prefixes)
    }


def _alone(parts: Mapping[str, Part], names: Sequence[str]) -> Part | None:
    """Return the one part that is merged, if it is a model by itself."""
    part = parts[names[0]]
    return part if len(set(names)) == 1 and part.family is not None else None
