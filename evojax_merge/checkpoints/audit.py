"""Checks that checkpoints can be merged with each other, made before any weights are read."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evojax_merge.checkpoints.alignment import MIN_SHARED, Alignment, plan_alignment, vocabulary_of
from evojax_merge.checkpoints.checkpoint import Checkpoint
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.models import Slot, kind_of

_LISTED = 8
"""The number of differing tensors that are listed for each checkpoint."""


def audit(
    base: Checkpoint | None, sources: Sequence[Checkpoint], min_shared: float = MIN_SHARED
) -> list[Alignment]:
    """Check that every source has the shapes of the reference: the base, or the first source.

    Tables of tokens may differ in length where the tokenizers can be aligned. A source that
    differs only in what its configuration computes (RoPE, windows, …) is warned of, since the
    merge uses the reference's configuration.

    Returns:
        How each source's vocabulary will be aligned.

    Raises:
        CheckpointError: There is no source, or some do not fit. All of these are listed.
    """
    if not sources:
        raise CheckpointError("no sources to merge; give at least one")
    reference = sources[0] if base is None else base
    problems: list[str] = []
    accounts = []
    for source in sources:
        differences = _differences(reference, source)
        if differences:
            listed = differences[:_LISTED]
            if len(differences) > _LISTED:
                listed.append(f"… and {len(differences) - _LISTED} more")
            problems.append(f"{source.directory}:\n    " + "\n    ".join(listed))
            continue
        try:
            accounts.append(
                plan_alignment(vocabulary_of(reference), vocabulary_of(source), min_shared)[0]
            )
        except CheckpointError as error:
            problems.append(str(error))
    if problems:
        raise CheckpointError(
            f"sources cannot be merged with {reference.directory}:\n  "
            + "\n  ".join(dict.fromkeys(problems))
        )
    differing = {str(s.directory): changed_fields(reference.config, s.config) for s in sources}
    warn_of_configurations(reference.directory, differing)
    return accounts


def _differences(reference: Checkpoint, source: Checkpoint) -> list[str]:
    if source.family.name != reference.family.name:
        return [f"is a {source.family.name}, not a {reference.family.name}"]
    if _type_of(source) != _type_of(reference):
        return [f"model_type is {_type_of(source)}, not {_type_of(reference)}"]
    tables = set(source.family.layout(source.config).token_tables)
    found = []
    ours, theirs = reference.slots, _as_named_in(reference, source)
    for name in dict.fromkeys([*ours, *theirs]):
        wanted, held = ours.get(name), theirs.get(name)
        if held is None and wanted is not None and wanted.path in source.unchanged:
            continue
        if held is None and wanted is not None:
            found.append(f"lacks {name} {list(wanted.shape)}")
        elif wanted is None and held is not None:
            found.append(f"has {name} {list(held.shape)} besides")
        elif wanted is not None and held is not None:
            ignored = int(held.path in tables)  # the number of rows is the tokenizer's affair
            if held.shape[ignored:] != wanted.shape[ignored:]:
                found.append(f"{name} is {list(held.shape)}, not {list(wanted.shape)}")
    return found


def _as_named_in(reference: Checkpoint, source: Checkpoint) -> dict[str, Slot]:
    """Return the slots of a source by the reference's names, which it may spell in another way."""
    spelled = {(slot.path, slot.layer): name for name, slot in reference.slots.items()}
    return {
        name if name in reference.slots else spelled.get((slot.path, slot.layer), name): slot
        for name, slot in source.slots.items()
    }


def _type_of(checkpoint: Checkpoint) -> str:
    """Return the type of model that the ``config.json`` names."""
    return str(kind_of(checkpoint.hf_config))


AUDITED = (
    "vocab_size",
    "tensors",
    "tables",
    "vocabulary_at",
    "prefixed",
    "names",
    "nests",
)
"""The fields of configurations that say what tensors there are, and how files say what they say.
Tensors are compared apart."""


def changed_fields(reference: Any, source: Any, free: Sequence[str] = AUDITED) -> list[str]:
    """List what two configurations compute otherwise, each with both values.

    Args:
        reference: The configuration that a merge uses.
        source: The configuration of a source.
        free: The names of fields that may differ, also in a part of the configuration.
    """
    ours, theirs = (dataclasses.asdict(config) for config in (reference, source))
    changed = _changed_keys(ours, theirs)
    return [text for key, text in changed.items() if not {*key.split(".")} & {*free}]


def warn_of_configurations(reference: Path, differing: Mapping[str, Sequence[str]]) -> None:
    """Warn once of sources whose shapes are those of the reference, and their configurations not.

    Args:
        reference: The directory of the model whose configuration the merge uses.
        differing: The result of `changed_fields` for each source, by its name.
    """
    listed = [f"{source}: {'; '.join(fields)}" for source, fields in differing.items() if fields]
    if listed:
        warnings.warn(
            f"{reference}: its configuration differs from those of sources, and the merge uses it:"
            "\n  " + "\n  ".join(listed),
            stacklevel=3,
        )


def _changed_keys(ours: Any, theirs: Any, name: str = "") -> dict[str, str]:
    """Return what differs, by its dotted name."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found: dict[str, str] = {}
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            inner = f"{name}.{key}" if name else str(key)
            found |= _changed_keys(ours.get(key), theirs.get(key), inner)
        return found
    return {} if ours == theirs else {name: f"{name} {theirs!r} (used: {ours!r})"}
