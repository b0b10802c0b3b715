"""Base and sources are opened together: all are brought to the parts that are merged."""

from collections.abc import Sequence
from pathlib import Path

from evojax_merge.checkpoints import (
    Adapter,
    Checkpoint,
    CheckpointError,
    as_part,
    bake,
    default_parts,
    has_parts,
    is_adapter,
    load_adapter_config,
    load_config,
    resolve,
    take_parts,
)
from evojax_merge.documents.errors import shown
from evojax_merge.sources.baked import Baked, split_baked

Opened = tuple[Checkpoint | None, tuple[Checkpoint | Adapter, ...]]


def open_all(
    base: str | None,
    sources: Sequence[str],
    parts: Sequence[str] | None,
    described: bool = False,
) -> Opened:
    """Read the headers of a base and of sources, and take the merged parts of each.

    A model by itself stands for the part that it is. It is unchanged from the base in the others.

    Args:
        base: The directory or hub id of the base, or None.
        sources: The directories, single files or hub ids of the sources, among them LoRA adapters
            of the base, and models with a LoRA baked in (see `split_baked`).
        parts: The names of the merged parts, where a model consists of parts; by default, those
            that are models by themselves.
        described: Whether shapes are all that is wanted, so that weights need not be there.

    Raises:
        CheckpointError: A checkpoint is damaged or lacks a part, or no source has some part.
    """
    spelled = [split_baked(source) or Baked(source, "") for source in sources]
    paths = [resolve(source.model, weights=not described) for source in spelled]
    whole_base = None if base is None else load_config(base, described)
    models = {path: load_config(path, described) for path in paths if not is_adapter(path)}
    opened = [one for one in (whole_base, *models.values()) if one is not None]
    first = next((one for one in opened if has_parts(one)), None)
    if first is None:
        if parts is not None:
            raise CheckpointError(
                f"model.parts is {', '.join(map(shown, parts))}, and none of these models consists "
                "of parts; leave it out"
            )
        return whole_base, tuple(
            _source(path, source, models, whole_base)
            for path, source in zip(paths, spelled, strict=True)
        )
    names = default_parts(first) if parts is None else parts
    merged = take_parts(first, names)

    def taken(checkpoint: Checkpoint) -> Checkpoint:
        if has_parts(checkpoint):
            return take_parts(checkpoint, names)
        return as_part(checkpoint, merged)

    base_part = None if whole_base is None else taken(whole_base)
    models = {path: taken(model) for path, model in models.items()}
    found = tuple(
        _source(path, source, models, base_part)
        for path, source in zip(paths, spelled, strict=True)
    )
    _check_lacking(base_part, found, merged.parts)
    return base_part, found


def _check_lacking(
    base: Checkpoint | None, sources: Sequence[Checkpoint | Adapter], parts: Sequence[str]
) -> None:
    """Check that whatever a source lacks is in the base, and that every part is in some source.

    Raises:
        CheckpointError: It is not.
    """
    if base is not None and base.unchanged:
        raise CheckpointError(
            f"{base.directory}: has no {_lacking(base, parts)}, and the base must have all parts "
            "that are merged; give a model.base that has them, or merge fewer model.parts"
        )
    short = [one for one in sources if isinstance(one, Checkpoint) and one.unchanged]
    if short and base is None:
        raise CheckpointError(
            f"{short[0].directory}: has no {_lacking(short[0], parts)}, where it is unchanged from "
            "the base; give a model.base that has them, or merge fewer model.parts"
        )
    for name in parts:
        if len(short) == len(sources) and all(name not in one.parts for one in short):
            raise CheckpointError(
                f"no source has a {name}, so that nothing would be merged there; leave it out of "
                "model.parts"
            )


def _lacking(checkpoint: Checkpoint, parts: Sequence[str]) -> str:
    return " and no ".join(name for name in parts if name not in checkpoint.parts)


def _source(
    path: Path, source: Baked, models: dict[Path, Checkpoint], base: Checkpoint | None
) -> Checkpoint | Adapter:
    if path in models:
        model = models[path]
        return model if not source.lora else bake(model, resolve(source.lora), source.strength)
    if source.lora:
        raise CheckpointError(f"{path}: is a LoRA itself, and another is baked into a model only")
    if base is None:
        raise CheckpointError(
            f"{path}: is a LoRA adapter, which is merged onto the model that it was trained "
            "on; give that as model.base"
        )
    return load_adapter_config(path, base)
