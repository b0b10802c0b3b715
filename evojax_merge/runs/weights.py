"""A search in the space of models themselves."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from evojax_merge.checkpoints import Model
from evojax_merge.config.experiment import Experiment
from evojax_merge.fitness.text_to_image import drawing_notes
from evojax_merge.measuring.candidates import MergeFn
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.operators import linear
from evojax_merge.params.abstract import computed
from evojax_merge.params.on_host import fetch
from evojax_merge.params.tree import flatten
from evojax_merge.params.types import Float, Genotype, Params
from evojax_merge.recipes.weights import WeightsRecipe
from evojax_merge.runs.merged import MergedProblem, MergingSetup
from evojax_merge.runs.merging import Merging
from evojax_merge.runs.problem import Found, Winner
from evojax_merge.runs.setup import Setup, Stage
from evojax_merge.spaces import WeightsSpace


@dataclasses.dataclass(frozen=True)
class WeightsProblem(MergedProblem):
    """The weights of a model, all of which are genes.

    Attributes:
        space: The space of the weights.
    """

    space: WeightsSpace
    keeps_genotypes = False  # they would take more than all else that a run leaves

    @property
    def seeds(self) -> Float[np.ndarray, "sources dims"]:
        """The sources, which a search may begin with.

        Raises:
            ValueError: A source lies outside the space, or holds NaN or infinite numbers.
        """
        self.merging.ingredients.check_finite()
        base = self.merging.ingredients.base
        sources = {name: model.params for name, model in self.merging.whole_sources().items()}
        return self.space.seeds(sources, None if base is None else base.params)

    def recipe(self, found: Found) -> WeightsRecipe:
        """The recipe of a genotype, which holds its weights."""
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
            params=jax.tree.map(fetch, params),
            parts=prepared.reference.parts or None,
            notes={
                "experiment": self.merging.experiment.name,
                "evaluations": found.evaluations,
                **drawing_notes(self.merging.experiment.task),
            },
        )

    def build(self, recipe: WeightsRecipe) -> Model:
        """The model of a recipe."""
        reference = self.merging.ingredients.reference
        return dataclasses.replace(reference, params=recipe.params, dtype=np.dtype(np.float32))

    def plot(self, recipe: WeightsRecipe, history: Path, directory: Path) -> None:
        """Draw nothing, since there are too many genes for a picture."""


def make_weights_evaluator(
    merging: Merging,
    space: WeightsSpace,
    population_size: int,
    tasks: dict[str, Any],
    mesh: Mesh,
    make: Callable[..., Evaluator] = Evaluator,
) -> Evaluator:
    """What measures the candidates of an experiment."""
    reference, base = merging.ingredients.reference, merging.ingredients.base
    start: Params = {}
    if space.origin == "base":
        assert base is not None  # else it is refused before weights are read
        start = jax.tree.map(
            functools.partial(computed, lambda leaf: jnp.asarray(leaf, jnp.float32)), base.params
        )
    return make(
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
    """The function from what genes are measured from and a genotype to a candidate's parameters."""

    def merge_fn(start: Params, genotype: Genotype) -> Params:
        params = space.decode(genotype)
        return jax.tree.map(jnp.add, start, params) if space.origin == "base" else params

    return merge_fn


class WeightsSetup(MergingSetup):
    """The set-up of searches among models themselves, which do not use the operator."""

    @classmethod
    def prepared_for(cls, experiment: Experiment) -> "Setup":
        return super().prepared_for(dataclasses.replace(experiment, operator=linear()))

    def _arrange(self) -> None:
        experiment, prepared = self.experiment, self.prepared
        reference = prepared.reference
        if prepared.carriers:
            raise ValueError(
                "model.carriers: space=weights keeps no recipe that names them; leave it out"
            )
        if prepared.dtype != np.float32:
            raise ValueError(
                f"space=weights evolves float32 weights, and these are {prepared.dtype.name}; set "
                "model.dtype=float32"
            )
        shapes = flatten(reference.family.abstract_params(reference.config))
        space = experiment.space(
            shapes={path: leaf.shape for path, leaf in shapes.items()}, layout=self.layout
        )
        if space.origin == "base" and prepared.base is None:
            raise ValueError("space.origin=base measures genes from a base; give model.base")
        strategy = self.strategy(space)

        def problem(winners: Mapping[str, Winner]) -> WeightsProblem:
            del winners
            merging, mesh = self.loaded()
            size = strategy.population_size
            evaluator = make_weights_evaluator(
                merging, space, size, self.bound, mesh, self.measuring
            )
            return WeightsProblem(merging, evaluator, space)

        self.stages = [Stage("weights", space, strategy, experiment.budget.evaluations, problem)]
