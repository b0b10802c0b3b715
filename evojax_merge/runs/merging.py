"""What the merges of a run are made of, and how a genotype of parameter space becomes one."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from evojax_merge.checkpoints import Model
from evojax_merge.config.experiment import Experiment
from evojax_merge.fitness.text_to_image import drawing_notes
from evojax_merge.measuring.candidates import MergeFn
from evojax_merge.operators import Evidence, merge
from evojax_merge.params.types import Genotype, Params
from evojax_merge.recipes.build import merge_recipe, published_merges
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.sources.evidence import Items, pinned
from evojax_merge.sources.ingredients import Ingredients
from evojax_merge.sources.plan import Plan
from evojax_merge.spaces import ParameterSpace


@dataclasses.dataclass(frozen=True)
class Merging:
    """Checkpoints and what an operator must know of them.

    Attributes:
        experiment: What is done.
        prepared: The plan of the checkpoints.
        ingredients: The checkpoints.
        items: The items that the operator's evidence is collected from.
        evidence: The evidence of each source, where the operator asks for it.
    """

    experiment: Experiment
    prepared: Plan
    ingredients: Ingredients
    items: tuple[Items, ...] = ()
    evidence: Evidence | None = None

    def merge_fn(self, space: ParameterSpace) -> MergeFn:
        """The function from `materials` and a genotype to the parameters of the candidate."""
        experiment, dtype = self.experiment, self.ingredients.dtype
        stacked = self.ingredients.layout.stacked

        def merge_fn(materials: Any, genotype: Genotype) -> Params:
            base, sources, statistics, seed = materials
            coefficients = space.expand(space.decode(genotype))
            return merge(
                experiment.operator,
                base,
                sources,
                coefficients,
                statistics,
                seed,
                dtype,
                stacked=stacked,
            )

        return merge_fn

    def materials(self) -> tuple[Any, Any, Any, Any]:
        """The base, the sources, the operator's statistics of them, and the seed of random masks.

        The seed is data, so that the jobs of a sweep over seeds share their programs.
        """
        operator, ingredients = self.experiment.operator, self.ingredients
        base, sources = ingredients.base_for(operator), ingredients.source_params
        cache = self.experiment.statistics_cache
        statistics = ingredients.statistics(operator, self.evidence, cache)
        return base, sources, statistics, np.uint32(self.experiment.seed)

    def recipe(
        self, space: ParameterSpace, genotype: np.ndarray, notes: Mapping[str, Any]
    ) -> Recipe:
        """The recipe of a genotype."""
        decoded = space.decode_one(jax.device_put(genotype))
        return Recipe(
            operator=self.experiment.operator_target,
            arguments=self.experiment.operator_arguments | pinned(self.items),
            base=self.prepared.base_ingredient,
            sources=self.prepared.source_ingredients,
            segments=space.segments,
            coefficients={name: np.asarray(value) for name, value in decoded.items()},
            seed=self.experiment.seed,
            dtype=self.ingredients.dtype.name,
            reference=self.prepared.reference_name,
            vocabulary=self.ingredients.vocabulary,
            parts=self.prepared.reference.parts or None,
            carriers=self.prepared.carrier_ingredients,
            notes={
                "experiment": self.experiment.name,
                "source_names": list(space.sources),
                **drawing_notes(self.experiment.task),
                **notes,
            },
        )

    def model(self, recipe: Recipe) -> Model:
        """The merge that a recipe describes."""
        return merge_recipe(
            recipe,
            self.experiment.operator,
            self.ingredients,
            self.evidence,
            self.experiment.statistics_cache,
        )

    def published(self) -> Iterator[tuple[str, Params]]:
        """The merges that papers recommend when nothing can be tuned, by name."""
        return published_merges(self.ingredients, self.experiment.statistics_cache)

    def whole_sources(self) -> dict[str, Model]:
        """The sources by name, adapters applied to their base."""
        names = self.experiment.model.source_names
        return dict(zip(names, self.ingredients.whole_sources(), strict=True))
