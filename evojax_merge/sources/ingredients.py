"""The checkpoints of a merge, which are checked from their headers first and loaded later."""

import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from evojax_merge.checkpoints import (
    Adapter,
    Alignment,
    Checkpoint,
    CheckpointError,
    Model,
    align_vocabularies,
    audit,
    load,
    load_adapter,
    load_config,
    weights_hash,
    with_carriers,
)
from evojax_merge.models import Layout
from evojax_merge.models.split import shardings
from evojax_merge.operators import (
    Evidence,
    Operator,
    Origin,
    check_finite,
    check_task_vectors,
    init_statistics,
)
from evojax_merge.operators.merge import Statistics
from evojax_merge.operators.statistics import processor
from evojax_merge.operators.statistics.cache import Entry, StatisticsCache
from evojax_merge.params.abstract import is_abstract
from evojax_merge.params.low_rank import is_adapter, materialise
from evojax_merge.params.placing import place
from evojax_merge.params.types import Params
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
        return _whole(_named(self.reference_name, self.base, self.sources))

    @property
    def wholes(self) -> list[Checkpoint]:
        """The sources, with the base in the place of adapters."""
        return [_whole(source) for source in self.sources]

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


@dataclasses.dataclass(frozen=True)
class Ingredients:
    """Loaded checkpoints with one vocabulary.

    Attributes:
        base: The common ancestor, if one is given.
        sources: The sources in order; those of LoRA adapters hold `evojax_merge.params.low_rank`
            leaves.
        reference_name: The model whose tokenizer and configuration the merge carries: ``base``, or
            the index of a source.
        dtype: The dtype of the merged parameters.
        vocabulary: How rows were aligned, or None where nothing had to be done.
        plan: The plan that the checkpoints were loaded from.
        mesh: The devices that parameters are split over, or None where they are on one.
    """

    base: Model | None
    sources: tuple[Model, ...]
    reference_name: str | int
    dtype: np.dtype
    vocabulary: dict[str, Any] | None
    plan: Plan
    mesh: Mesh | None = None

    @property
    def reference(self) -> Model:
        """The model that ``reference_name`` names."""
        return _named(self.reference_name, self.base, self.sources)

    @property
    def layout(self) -> Layout:
        """The layout of every model, whose vocabularies are one by now."""
        return self.reference.family.layout(self.reference.config)

    @property
    def base_params(self) -> Params | None:
        """The parameters of the base, if there is one."""
        return None if self.base is None else self.base.params

    @property
    def source_params(self) -> tuple[Params, ...]:
        """The parameters of the sources."""
        return tuple(source.params for source in self.sources)

    def base_for(self, operator: Operator) -> Params | None:
        """The parameters of the base, if merging these sources by the operator takes one."""
        adapted = any(is_adapter(source.params) for source in self.sources)
        return self.base_params if operator.needs_base or adapted else None

    def statistics(
        self,
        operator: Operator,
        evidence: Evidence | None = None,
        cache: StatisticsCache | None = None,
    ) -> Statistics:
        """Compute what an operator must know of whole tensors, or find it where it is kept.

        Raises:
            ValueError: The models cannot be merged, or hold NaN or infinite numbers. The message
                names their paths and tensors.
        """
        base = self.base_for(operator)
        files = [self.plan.base, *self.plan.sources]
        here = contextlib.nullcontext() if self.mesh is None else jax.default_device(processor())
        with here:  # or they would all lie on the first device before they are split
            found = init_statistics(
                operator,
                base,
                self.source_params,
                evidence,
                self.statistics_entry(operator, cache),
                stacked=self.layout.stacked,
                origins=[_origin(one) for one in files[base is None :] if one is not None],
            )
        return found if self.mesh is None else _placed(found, self.layout, self.mesh)

    def check_finite(self) -> None:
        """Check that every number of every model is finite.

        Raises:
            ValueError: Some are not. The message names their paths and tensors.
        """
        models = [self.base, *self.sources]
        for file, model in zip([self.plan.base, *self.plan.sources], models, strict=True):
            if file is not None and model is not None:
                check_finite(_origin(file), model.params, self.layout.stacked)

    def statistics_entry(self, operator: Operator, cache: StatisticsCache | None) -> Entry | None:
        """The place where an operator's statistics of these weights are kept, if they are."""
        if cache is None or operator.statistics_name is None or self.plan.reference.described:
            return None
        base = None if self.base_for(operator) is None else self.plan.base_ingredient
        sources = self.plan.source_ingredients
        return cache.entry(
            operator.statistics_name,
            [base.sha256 if base else None, *(source.sha256 for source in sources)],
            {
                "reference": self.reference_name,
                "vocabulary": self.vocabulary,
                **({"parts": self.reference.parts} if self.reference.parts else {}),
            },
        )

    def check_task_vectors(self, operator: Operator, names: Sequence[str]) -> None:
        """Check that every source differs from the base, if the operator merges task vectors.

        Raises:
            ValueError: The task vector of a source is zero everywhere.
        """
        known = not is_abstract(self.base_params, self.source_params)
        if operator.needs_base and self.base is not None and known:
            check_task_vectors(self.base.params, self.source_params, names, self.layout.stacked)

    def whole_sources(self) -> Iterator[Model]:
        """The sources as models that can be run; adapters are added to the base one at a time."""
        for source in self.sources:
            if self.base is None or not is_adapter(source.params):
                yield source
            else:
                params = materialise(self.base.params, source.params)
                yield dataclasses.replace(source, params=params)


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
    chosen = _named(reference, base_checkpoint, source_checkpoints)
    if isinstance(chosen, Adapter):
        raise CheckpointError(
            f"{chosen.directory}: is a LoRA adapter, which has no configuration of its own; take "
            "the tokenizer from the base (model.tokenizer=base)"
        )
    if chosen.carrier is None and any(
        _whole(one).carrier is not None for one in (base_checkpoint, *source_checkpoints) if one
    ):
        raise CheckpointError(
            f"{chosen.directory}: has no other parts than the merged ones, and the merge needs "
            "them from somewhere; give a model that has them as model.carrier"
        )
    models = [model for model in (base_checkpoint, *source_checkpoints) if model is not None]
    whole = [model for model in models if isinstance(model, Checkpoint)]
    check_pipelines(chosen, whole)
    audit(chosen, whole)
    wanted = chosen.dtype if dtype is None else np.dtype(dtype)
    others = {name: load_config(path, described) for name, path in (carriers or {}).items()}
    carried = with_carriers(chosen, others, whole)

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
    wanted = _whole(found[0]).dtype if dtype is None else np.dtype(dtype)
    prepared = Plan(kept, found, 0, wanted)
    check_pool(names, prepared.wholes)
    return prepared


def load_members(plan: Plan, mesh: Mesh | None = None) -> list[Model]:
    """Load the models of a pool, each with its own vocabulary; adapters are added to their base.

    Args:
        plan: The plan.
        mesh: The devices that parameters are split over; by default, all go to one.

    Raises:
        CheckpointError: An adapter's factors are not finite.
        ValueError: A model holds NaN or infinite numbers. The message names its path and tensors.
    """
    base = None if plan.base is None else load(plan.base, mesh=mesh)
    models = []
    for source in plan.sources:
        if isinstance(source, Adapter):
            assert base is not None  # else it is refused in `plan_pool`
            factors = _spread(load_adapter(source, base), mesh).params
            models.append(dataclasses.replace(base, params=materialise(base.params, factors)))
        else:
            models.append(load(source, mesh=mesh))
    for source, model in zip(plan.sources, models, strict=True):
        if is_abstract(model.params):
            continue
        stacked = model.family.layout(model.config).stacked
        check_finite(_origin(source), model.params, stacked)
    return models


def load_ingredients(plan: Plan, mesh: Mesh | None = None) -> Ingredients:
    """Read the weights of a plan, and bring them to the reference's vocabulary.

    Args:
        plan: The plan.
        mesh: The devices that parameters are split over; by default, all go to one.

    Raises:
        CheckpointError: An adapter's factors are not finite.
    """
    checkpoints = [c for c in (plan.base, *plan.sources) if c is not None]
    base = None if plan.base is None else load(plan.base, mesh=mesh)
    loaded = [] if base is None else [base]
    for source in plan.sources:
        if isinstance(source, Adapter):
            assert base is not None  # else it is refused in `plan`
            loaded.append(_spread(load_adapter(source, base), mesh))
        else:
            loaded.append(load(source, mesh=mesh))
    reference = _named(plan.reference_name, base, loaded[len(loaded) - len(plan.sources) :])
    aligned, accounts = align_vocabularies(reference, loaded)
    models = tuple(_within(reference, model) for model in aligned)
    sources = models[len(models) - len(plan.sources) :]
    return Ingredients(
        base=models[0] if plan.base is not None else None,
        sources=tuple(sources),
        reference_name=plan.reference_name,
        dtype=plan.dtype,
        vocabulary=_accounts(checkpoints, accounts),
        plan=plan,
        mesh=mesh,
    )


def _spread(model: Model, mesh: Mesh | None) -> Model:
    """Put what a model adds to its base on the devices that the base is split over."""
    if mesh is None:
        return model
    layout = model.family.layout(model.config)
    return dataclasses.replace(model, params=_placed(model.params, layout, mesh))


def _placed(tree: Any, layout: Layout, mesh: Mesh) -> Any:
    return place(tree, shardings(tree, layout, mesh))


def _origin(checkpoint: Checkpoint | Adapter) -> Origin:
    """What messages call a checkpoint and its tensors. A single file has names of its own."""
    whole = _whole(checkpoint)
    single = whole.directory.is_file()
    names = {
        (slot.path, slot.layer): whole.tensors[name].name if single else name
        for name, slot in whole.slots.items()
    }
    return Origin(str(checkpoint.directory), names)


def _within(reference: Model, model: Model) -> Model:
    """Let a model by itself stand in the carrier of the others, which it has the vocabulary of."""
    if reference.carrier is None or model.carrier is not None or model.parts:
        return model
    return dataclasses.replace(model, carrier=reference.carrier, parts=reference.parts)


def _accounts(
    checkpoints: Sequence[Checkpoint | Adapter], accounts: Sequence[Alignment]
) -> dict[str, Any] | None:
    changed = {
        checkpoint.directory.name: account.to_dict()
        for checkpoint, account in zip(checkpoints, accounts, strict=True)
        if account.rows and account.method != "identical"
    }
    return changed or None


def _named(name: str | int, base: Any, sources: Sequence[Any]) -> Any:
    return base if name == BASE else sources[int(name)]


def _whole(checkpoint: Checkpoint | Adapter) -> Checkpoint:
    return checkpoint.base if isinstance(checkpoint, Adapter) else checkpoint


def _carrier(base: Checkpoint | None, sources: Sequence[Checkpoint | Adapter]) -> str | int:
    """Find the model whose configuration a merge carries if nothing is said.

    It is the base, or the first source; where others are parts of a whole, the first such one.
    """
    if base is not None and base.carrier is not None:
        return BASE
    whole = (index for index, one in enumerate(sources) if _whole(one).carrier is not None)
    return next(whole, 0 if base is None else BASE)


def _ingredient(checkpoint: Checkpoint | Adapter) -> Ingredient:
    if _whole(checkpoint).described:
        return Ingredient(str(checkpoint.directory.absolute()), "")
    path, sha256 = str(checkpoint.directory.absolute()), weights_hash(checkpoint.directory)
    if isinstance(checkpoint, Checkpoint) and checkpoint.baked is not None:
        lora, strength = checkpoint.baked.adapter.directory.absolute(), checkpoint.baked.strength
        path = str(Baked(path, str(lora), strength))
        numbers = f"{sha256} {weights_hash(lora)} {strength!r}"
        sha256 = hashlib.sha256(numbers.encode()).hexdigest()
    return Ingredient(path, sha256)
