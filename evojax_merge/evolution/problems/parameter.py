"""Merging in parameter space."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from evojax_merge.checkpoints import Model
from evojax_merge.evidence import Items, pinned
from evojax_merge.evolution.evaluate import Evaluator, MergeFn
from evojax_merge.evolution.measure import measure
from evojax_merge.evolution.problems.base import EVOLVED, Found, Scored
from evojax_merge.experiment import Experiment
from evojax_merge.ingredients import Ingredients, Plan
from evojax_merge.merging import merge_recipe, published_merges
from evojax_merge.operators import Evidence, init_statistics, merge
from evojax_merge.recipe import Recipe
from evojax_merge.report.plots import plot_coefficients
from evojax_merge.spaces import ParameterSpace
from evojax_merge.types import Float, Genotype, Params


@dataclasses.dataclass(frozen=True)
class ParameterProblem:
    """Coefficients of a merge operator, per source, group and block of layers.

    Attributes:
        experiment: What is done.
        prepared: The checkpoints' plan.
        space: Of the coefficients.
        ingredients: The checkpoints.
        items: That the operator's evidence is collected from.
        evidence: Of each source, where the operator asks for it.
        evaluator: Merges and measures candidates.
    """

    experiment: Experiment
    prepared: Plan
    space: ParameterSpace
    ingredients: Ingredients
    items: tuple[Items, ...]
    evidence: Evidence | None
    evaluator: Evaluator

    def recipe(self, found: Found) -> Recipe:
        """The recipe of a genotype."""
        return parameter_recipe(
            self.experiment,
            self.prepared,
            self.space,
            self.ingredients,
            self.items,
            found.genotype,
            {"evaluations": found.evaluations},
        )

    def build(self, recipe: Recipe) -> Model:
        """The merged model."""
        return merge_recipe(recipe, self.experiment.operator, self.ingredients, self.evidence)

    def compare(self, model: Model, found: Mapping[str, Found], split: str) -> Scored:
        """Sources, published merges and the winners of searches, measured by one program."""
        apart = self._configured_apart()
        names: list[str] = []

        def models() -> Iterator[Params]:
            for name, params in self._contestants(model, found):
                names.append(name)
                yield params

        scored = 0
        for items, _ in self.evaluator.measure(models(), split):
            name, scored = names[scored], scored + 1
            if name in apart:
                items, _ = measure(apart[name], self.evaluator.tasks[split])
            yield name, items

    def measure(self, model: Model, found: Found, split: str) -> Float[np.ndarray, "items"]:
        """Results of the merged model."""
        del found
        (measured,) = self.evaluator.measure([model.params], split)
        return measured[0]

    def plot(self, recipe: Recipe, history: Path, directory: Path) -> None:
        """The coefficients as a heat map."""
        del history
        plot_coefficients(
            recipe.coefficients, self.space.sources, recipe.segments, directory / "coefficients.png"
        )

    def _configured_apart(self) -> dict[str, Model]:
        """The sources whose configuration is not the merge's: measured with their own."""
        reference = self.ingredients.reference
        apart = {}
        for name, source in zip(self.space.sources, self.ingredients.whole_sources(), strict=True):
            config = source.config
            if hasattr(config, "vocab_size"):  # their tables of tokens are aligned by now
                config = dataclasses.replace(config, vocab_size=reference.config.vocab_size)
            if config != reference.config:
                apart[name] = dataclasses.replace(reference, config=config, params=source.params)
        return apart

    def _contestants(
        self, model: Model, found: Mapping[str, Found]
    ) -> Iterator[tuple[str, Params]]:
        baselines = self.experiment.baselines
        if baselines.sources:
            if self.ingredients.base is not None:
                yield "base", self.ingredients.base.params
            wholes = (model.params for model in self.ingredients.whole_sources())
            yield from zip(self.space.sources, wholes, strict=True)
        if baselines.published:
            yield from published_merges(self.ingredients)
        for name, other in found.items():
            if name != EVOLVED:
                yield name, self.build(self.recipe(other)).params
        yield EVOLVED, model.params


def make_merge_fn(
    experiment: Experiment, space: ParameterSpace, ingredients: Ingredients
) -> MergeFn:
    """Parameters of the candidate that a genotype describes."""

    def merge_fn(materials: Any, genotype: Genotype) -> Params:
        base, sources, statistics = materials
        coefficients = space.expand(space.decode(genotype))
        return merge(
            experiment.operator,
            base,
            sources,
            coefficients,
            statistics,
            experiment.seed,
            ingredients.dtype,
        )

    return merge_fn


def make_materials(
    experiment: Experiment, ingredients: Ingredients, evidence: Evidence | None
) -> tuple[Any, Any, Any]:
    """What `make_merge_fn`'s function merges: base, sources, statistics."""
    operator = experiment.operator
    base = ingredients.base_for(operator)
    sources = ingredients.source_params
    return base, sources, init_statistics(operator, base, sources, evidence)


def make_evaluator(
    experiment: Experiment,
    space: ParameterSpace,
    population_size: int,
    ingredients: Ingredients,
    tasks: dict[str, Any],
    mesh: Mesh,
    evidence: Evidence | None = None,
) -> Evaluator:
    """What merges and measures the candidates of an experiment."""
    return Evaluator(
        ingredients.reference.family,
        ingredients.reference.config,
        make_merge_fn(experiment, space, ingredients),
        make_materials(experiment, ingredients, evidence),
        tasks,
        mesh=mesh,
        dims=space.dims,
        population_size=population_size,
        chunk=experiment.budget.chunk,
    )


def parameter_recipe(
    experiment: Experiment,
    prepared: Plan,
    space: ParameterSpace,
    ingredients: Ingredients,
    items: tuple[Items, ...],
    genotype: np.ndarray,
    notes: Mapping[str, Any],
) -> Recipe:
    """The recipe of a genotype of parameter space."""
    decoded = jax.jit(space.decode)(genotype)
    return Recipe(
        operator=experiment.operator_target,
        arguments=experiment.operator_arguments | pinned(items),
        base=prepared.base_ingredient,
        sources=prepared.source_ingredients,
        segments=space.segments,
        coefficients={name: np.asarray(value) for name, value in decoded.items()},
        seed=experiment.seed,
        dtype=ingredients.dtype.name,
        reference=prepared.reference_name,
        vocabulary=ingredients.vocabulary,
        notes={
            "experiment": experiment.name,
            "source_names": list(space.sources),
            **notes,
        },
    )
