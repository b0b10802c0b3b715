"""Search in the space of models themselves."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from evojax_merge.checkpoints import Model
from evojax_merge.measuring.evaluator import Evaluator, MergeFn
from evojax_merge.params.types import Float, Genotype, Params
from evojax_merge.recipes.weights import WeightsRecipe
from evojax_merge.runs.problems.base import Found
from evojax_merge.runs.problems.merging import Merging
from evojax_merge.runs.problems.parameter import MergedProblem
from evojax_merge.spaces import WeightsSpace


@dataclasses.dataclass(frozen=True)
class WeightsProblem(MergedProblem):
    """The weights of a model, all of them genes.

    Attributes:
        space: Of the weights.
    """

    space: WeightsSpace

    @property
    def seeds(self) -> Float[np.ndarray, "sources dims"]:
        """The sources, which a search may begin with.

        Raises:
            ValueError: A source lies outside the space.
        """
        base = self.merging.ingredients.base
        sources = {name: model.params for name, model in self.merging.whole_sources().items()}
        return self.space.seeds(sources, None if base is None else base.params)

    def recipe(self, found: Found) -> WeightsRecipe:
        """The weights of a genotype."""
        params = jax.jit(_merge_fn(self.space))(self.evaluator.materials, found.genotype)
        prepared = self.merging.prepared
        reference = prepared.reference_name
        ingredient = (
            prepared.base_ingredient
            if reference == "base"
            else prepared.source_ingredients[int(reference)]
        )
        assert ingredient is not None
        return WeightsRecipe(
            model=ingredient,
            params=jax.tree.map(np.asarray, params),
            notes={"experiment": self.merging.experiment.name, "evaluations": found.evaluations},
        )

    def build(self, recipe: WeightsRecipe) -> Model:
        """The model."""
        reference = self.merging.ingredients.reference
        return dataclasses.replace(reference, params=recipe.params, dtype=np.dtype(np.float32))

    def plot(self, recipe: WeightsRecipe, history: Path, directory: Path) -> None:
        """Nothing: there are too many genes for a picture."""


def make_weights_evaluator(
    merging: Merging,
    space: WeightsSpace,
    population_size: int,
    tasks: dict[str, Any],
    mesh: Mesh,
) -> Evaluator:
    """What measures the candidates of an experiment."""
    reference, base = merging.ingredients.reference, merging.ingredients.base
    start: Params = {}
    if space.origin == "base":
        assert base is not None  # else it is refused before weights are read
        start = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), base.params)
    return Evaluator(
        reference.family,
        reference.config,
        _merge_fn(space),
        start,
        tasks,
        mesh=mesh,
        dims=space.dims,
        population_size=population_size,
        chunk=merging.experiment.budget.chunk,
    )


def _merge_fn(space: WeightsSpace) -> MergeFn:
    """(what genes are measured from, genotype) -> parameters of the candidate."""

    def merge_fn(start: Params, genotype: Genotype) -> Params:
        params = space.decode(genotype)
        return jax.tree.map(jnp.add, start, params) if space.origin == "base" else params

    return merge_fn
