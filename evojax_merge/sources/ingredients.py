"""The checkpoints of a merge, loaded as a plan says."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from evojax_merge.checkpoints import (
    Adapter,
    Alignment,
    Checkpoint,
    Model,
    align_vocabularies,
    load,
    load_adapter,
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
from evojax_merge.sources.plan import Plan, named, whole


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
        return named(self.reference_name, self.base, self.sources)

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
    reference = named(plan.reference_name, base, loaded[len(loaded) - len(plan.sources) :])
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
    complete = whole(checkpoint)
    single = complete.directory.is_file()
    names = {
        (slot.path, slot.layer): complete.tensors[name].name if single else name
        for name, slot in complete.slots.items()
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
