"""Which checkpoints are merged, checked from their headers before any weights are read."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evojax_merge.checkpoints import (
    Adapter,
    Checkpoint,
    CheckpointError,
    audit,
    load_config,
    weights_hash,
    with_carriers,
)
from evojax_merge.sources.baked import Baked
from evojax_merge.sources.opening import open_all
from evojax_merge.sources.pipelines import check_pipelines
from evojax_merge.sources.pool import check_pool
from evojax_merge.sources.reference import Ingredient

BASE = "base"


@dataclasses.dataclass(frozen=True)
class Plan:
    """Checkpoints that can be merged, none of whose weights are read yet.

    Attributes:
        base: The common ancestor, if one is given.
        sources: The sources in order, some of which may be LoRA adapters of the base.
        reference_name: The checkpoint whose tokenizer and configuration the merge carries:
            ``base``, or the index of a source.
        dtype: The dtype of the merged parameters.
        carriers: The checkpoints that parts come from, where it is not the reference, by part.
    """

    base: Checkpoint | None
    sources: tuple[Checkpoint | Adapter, ...]
    reference_name: str | int
    dtype: np.dtype
    carriers: Mapping[str, Checkpoint] = dataclasses.field(default_factory=dict)

    @property
    def reference(self) -> Checkpoint:
        """The checkpoint that ``reference_name`` names; for an adapter it is its base."""
        return whole(named(self.reference_name, self.base, self.sources))

    @property
    def wholes(self) -> list[Checkpoint]:
        """The sources, with the base in the place of adapters."""
        return [whole(source) for source in self.sources]

    @functools.cached_property
    def base_ingredient(self) -> Ingredient | None:
        """The base as a recipe names it."""
        return None if self.base is None else _ingredient(self.base)

    @functools.cached_property
    def source_ingredients(self) -> tuple[Ingredient, ...]:
        """The sources as a recipe names them."""
        return tuple(_ingredient(source) for source in self.sources)

    @functools.cached_property
    def carrier_ingredients(self) -> dict[str, Ingredient]:
        """The checkpoints that parts come from as a recipe names them, by part."""
        return {name: _ingredient(one) for name, one in self.carriers.items()}


def plan(
    base: str | None,
    sources: Sequence[str],
    reference: str | int = BASE,
    dtype: str | None = None,
    parts: Sequence[str] | None = None,
    carriers: Mapping[str, str] | None = None,
    described: bool = False,
) -> Plan:
    """Check that checkpoints can be merged.

    Args:
        base: The directory or hub id of the base, or None.
        sources: The directories or hub ids of the sources, at least one; a directory may hold a
            LoRA adapter of the base.
        reference: ``base`` (the first source where there is none), or the index of a source. Of
            models that consist of parts it is the carrier, from which all else comes.
        dtype: The dtype of the merged parameters; by default the reference's.
        parts: The parts that are merged, where a model consists of parts; by default, those that
            are models by themselves.
        carriers: The directories, files or hub ids of what single parts come from that are not
            merged, by the names of the parts; by default, the carrier has all.
        described: Whether shapes are all that is wanted, so that weights need not be there.

    Raises:
        CheckpointError: A checkpoint is damaged, or the checkpoints do not fit each other.
    """
    base_checkpoint, source_checkpoints = open_all(base, sources, parts, described)
    if reference == BASE:
        reference = _carrier(base_checkpoint, source_checkpoints)
    chosen = named(reference, base_checkpoint, source_checkpoints)
    if isinstance(chosen, Adapter):
        raise CheckpointError(
            f"{chosen.directory}: is a LoRA adapter, which has no configuration of its own; take "
            "the tokenizer from the base (model.tokenizer=base)"
        )
    if chosen.carrier is None and any(
        whole(one).carrier is not None for one in (base_checkpoint, *source_checkpoints) if one
    ):
        raise CheckpointError(
            f"{chosen.directory}: has no other parts than the merged ones, and the merge needs "
            "them from somewhere; give a model that has them as model.carrier"
        )
    models = [model for model in (base_checkpoint, *source_checkpoints) if model is not None]
    complete = [model for model in models if isinstance(model, Checkpoint)]
    check_pipelines(chosen, complete)
    audit(chosen, complete)
    wanted = chosen.dtype if dtype is None else np.dtype(dtype)
    others = {name: load_config(path, described) for name, path in (carriers or {}).items()}
    carried = with_carriers(chosen, others, complete)

    def replaced(one: Any) -> Any:
        return carried if one is chosen else one

    return Plan(
        replaced(base_checkpoint),
        tuple(replaced(source) for source in source_checkpoints),
        reference,
        wanted,
        others,
    )


def plan_pool(
    base: str | None,
    sources: Sequence[str],
    names: Sequence[str],
    dtype: str | None = None,
    parts: Sequence[str] | None = None,
    described: bool = False,
) -> Plan:
    """Check that layers of checkpoints can follow one another; their numbers may differ.

    Args:
        base: The directory or hub id of what LoRA adapters among the sources were trained on.
        sources: The directories or hub ids of the sources.
        names: What messages call the sources.
        dtype: The dtype of the pool; by default the first source's.
        parts: The parts whose layers they are, as for `plan`.
        described: Whether shapes are all that is wanted, as for `plan`.

    Raises:
        CheckpointError: A checkpoint is damaged, or the checkpoints do not fit each other.
    """
    base_checkpoint, found = open_all(base, sources, parts, described)
    kept = base_checkpoint if any(isinstance(one, Adapter) for one in found) else None
    wanted = whole(found[0]).dtype if dtype is None else np.dtype(dtype)
    prepared = Plan(kept, found, 0, wanted)
    check_pool(names, prepared.wholes)
    return prepared


def named(name: str | int, base: Any, sources: Sequence[Any]) -> Any:
    """The base or a source, by ``base`` or by the index of the source."""
    return base if name == BASE else sources[int(name)]


def whole(checkpoint: Checkpoint | Adapter) -> Checkpoint:
    """The checkpoint, with its base in the place of an adapter."""
    return checkpoint.base if isinstance(checkpoint, Adapter) else checkpoint


def _carrier(base: Checkpoint | None, sources: Sequence[Checkpoint | Adapter]) -> str | int:
    """Find the model whose configuration a merge carries if nothing is said.

    It is the base, or the first source; where others are parts of a whole, the first such one.
    """
    if base is not None and base.carrier is not None:
        return BASE
    found = (index for index, one in enumerate(sources) if whole(one).carrier is not None)
    return next(found, 0 if base is None else BASE)


def _ingredient(checkpoint: Checkpoint | Adapter) -> Ingredient:
    if whole(checkpoint).described:
        return Ingredient(str(checkpoint.directory.absolute()), "")
    path, sha256 = str(checkpoint.directory.absolute()), weights_hash(checkpoint.directory)
    if isinstance(checkpoint, Checkpoint) and checkpoint.baked is not None:
        lora, strength = checkpoint.baked.adapter.directory.absolute(), checkpoint.baked.strength
        path = str(Baked(path, str(lora), strength))
        numbers = f"{sha256} {weights_hash(lora)} {strength!r}"
        sha256 = hashlib.sha256(numbers.encode()).hexdigest()
    return Ingredient(path, sha256)
