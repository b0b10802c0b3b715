"""The checkpoints of one merge, loaded so that equal paths hold comparable rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evojax_merge.checkpoints.alignment import MIN_SHARED, Alignment, align_vocabularies
from evojax_merge.checkpoints.auditing import audit
from evojax_merge.checkpoints.checkpoint import load_config
from evojax_merge.checkpoints.loading import Model, load


class MergeInputs(NamedTuple):
    """Base and sources of one shape, and how each source's vocabulary was aligned."""

    base: Model | None
    sources: tuple[Model, ...]
    alignments: tuple[Alignment, ...]


def load_for_merging(
    base: str | Path | None,
    sources: Sequence[str | Path],
    dtype: Any = None,
    min_shared: float = MIN_SHARED,
) -> MergeInputs:
    """Audit all checkpoints against each other, then load them and align their vocabularies.

    Args:
        base: The checkpoint the sources came from, if the operator needs it: directory or hub id.
        sources: The checkpoints to merge.
        dtype: Of all parameters; by default each checkpoint's own.
        min_shared: See `plan_alignment`.

    Raises:
        CheckpointError: See `load_config`, `audit`, `load`.
    """
    base_checkpoint = None if base is None else load_config(base)
    checkpoints = [load_config(source) for source in sources]
    audit(base_checkpoint, checkpoints, min_shared)
    base_model = None if base_checkpoint is None else load(base_checkpoint, dtype)
    models = [load(checkpoint, dtype) for checkpoint in checkpoints]
    aligned, accounts = align_vocabularies(base_model, models, min_shared)
    return MergeInputs(base_model, aligned, tuple(accounts))
