"""What an export carries over from a checkpoint besides weights and configuration."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evojax_merge.checkpoints.directory import member, read_json
from evojax_merge.checkpoints.special_tokens import SpecialTokens, renumbered

GENERATION = "generation_config.json"


def carry(source: Path, target: Path, patterns: Sequence[str]) -> None:
    """Copy the files whose names match, those in folders too.

    Raises:
        CheckpointError: A file leads out of the checkpoint, or is no regular file.
    """
    for name in carried_names(source, patterns):
        (target / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(member(source, name), target / name)


def carried_names(source: Path, patterns: Sequence[str]) -> list[str]:
    """List the names of the files that match, each of which may be copied.

    Raises:
        CheckpointError: A file leads out of the checkpoint, or is no regular file.
    """
    found = {path for pattern in patterns for path in source.glob(pattern)}
    names = sorted(str(path.relative_to(source)) for path in found)
    return [name for name in names if member(source, name).exists()]


def carried_settings(
    directory: Path,
    hf_config: Mapping[str, Any],
    written_for: SpecialTokens | None,
    tokens: SpecialTokens | None,
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Make the ``config.json`` and ``generation_config.json`` (if there is one) of an export.

    Ids of special tokens in both are those of the export's tokenizer.

    Args:
        directory: The directory of the checkpoint that the files are from.
        hf_config: The ``config.json`` of the export, with the ids of the checkpoint.
        written_for: The special tokens of the tokenizer that the ids in both are of, if known.
        tokens: The special tokens of the export's tokenizer, if it has one.

    Raises:
        CheckpointError: A file is damaged.
    """
    path = member(directory, GENERATION)
    generation = read_json(path) if path.exists() else None
    if tokens is None:
        return dict(hf_config), generation
    if generation is not None:
        generation = renumbered(generation, written_for, tokens)
    return renumbered(hf_config, written_for, tokens), generation
