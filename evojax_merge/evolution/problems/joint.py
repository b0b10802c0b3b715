"""Both spaces at once: a merge, and a path through its layers and those of its sources."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from evojax_merge.checkpoints import Model
from evojax_merge.evidence import Items
from evojax_merge.evolution.evaluate import Candidates, Evaluator
from evojax_merge.evolution.history import read_history
from evojax_merge.evolution.measure import measure
from evojax_merge.evolution.problems.base import EVOLVED, Found, Scored
from evojax_merge.evolution.problems.dataflow import STACKED, path_recipe, together
from evojax_merge.evolution.problems.parameter import (
    make_materials,
    make_merge_fn,
    parameter_recipe,
)
from evojax_merge.experiment import Experiment
from evojax_merge.ingredients import Ingredients, Plan
from evojax_merge.merging import merge_recipe
from evojax_merge.models.decoder import path as paths
from evojax_merge.operators import Evidence
from evojax_merge.path_recipe import PathRecipe
from evojax_merge.pool import make_pool
from evojax_merge.population import population_axes
from evojax_merge.recipe import Ingredient, Recipe
from evojax_merge.report.paths import plot_path, plot_path_history
from evojax_merge.report.plots import plot_coefficients
from evojax_merge.spaces import JointSpace
from evojax_merge.spaces.dataflow import decode_all
from evojax_merge.tree import STACKED as LAYERS
from evojax_merge.types import Array, Float, Genotype, Params


@dataclasses.dataclass(frozen=True)
class JointProblem:
    """A genotype of parameter space and one of data-flow space, evolved together.

    Attributes:
        experiment: What is done.
        prepared: The checkpoints' plan.
        space: Both spaces.
        ingredients: The checkpoints.
        items: That the operator's evidence is collected from.
        evidence: Of each source, where the operator asks for it.
        evaluator: Merges, routes and measures candidates.
    """

    experiment: Experiment
    prepared: Plan
    space: JointSpace
    ingredients: Ingredients
    items: tuple[Items, ...]
    evidence: Evidence | None
    evaluator: Evaluator

    def recipe(self, found: Found) -> PathRecipe:
        """The recipe of a genotype; the merge is a recipe in its pool."""
        own, route = self.space.split(found.genotype)
        merged = parameter_recipe(
            self.experiment,
            self.prepared,
            self.space.parameter,
            self.ingredients,
            self.items,
            own,
            {},
        )
        return path_recipe(
            self.space.dataflow,
            self.space.dataflow.decode(jnp.asarray(route)),
            self._members(merged),
            base=self.prepared.base_ingredient,
            dtype=self.ingredients.dtype.name,
            notes={"experiment": self.experiment.name, "evaluations": found.evaluations},
        )

    def build(self, recipe: PathRecipe) -> Model:
        """Merge, then the path as a plain model."""
        merged = recipe.pool[self.space.merged]
        assert isinstance(merged, Recipe)
        whole = dict(
            zip(self.space.parameter.sources, self.ingredients.whole_sources(), strict=True)
        )
        whole[self.space.merged] = merge_recipe(
            merged, self.experiment.operator, self.ingredients, self.evidence
        )
        members = list(recipe.pool)
        pool = make_pool(
            [whole[name] for name in members],
            members,
            members.index(recipe.skeleton),
            self.ingredients.dtype,
        )
        return pool.plain(recipe.path(dict(zip(members, pool.layers, strict=True))))

    def compare(self, model: Model, found: Mapping[str, Found], split: str) -> Scored:
        """The sources, and the winners of searches."""
        if self.experiment.baselines.sources:
            if self.ingredients.base is not None:
                yield "base", measure(self.ingredients.base, self.evaluator.tasks[split])[0]
            wholes = self.ingredients.whole_sources()
            for name, source in zip(self.space.parameter.sources, wholes, strict=True):
                yield name, measure(source, self.evaluator.tasks[split])[0]
        for name in [*(name for name in found if name != EVOLVED), EVOLVED]:
            yield name, self.measure(model, found[name], split)

    def measure(self, model: Model, found: Found, split: str) -> Float[np.ndarray, "items"]:
        """Results of a candidate, built and run as in the search."""
        del model
        return self.evaluator(found.genotype[None], split).items[0]

    def plot(self, recipe: PathRecipe, history: Path, directory: Path) -> None:
        """The merge's coefficients, the path, and how paths changed during the search."""
        merged = recipe.pool[self.space.merged]
        assert isinstance(merged, Recipe)
        plot_coefficients(
            merged.coefficients,
            self.space.parameter.sources,
            merged.segments,
            directory / "coefficients.png",
        )
        space = self.space.dataflow
        plot_path(
            recipe.hops,
            dict(zip(space.sources, space.layers, strict=True)),
            directory / "path.png",
        )
        rows = (
            {**row, "genotype": self.space.split(row["genotype"])[1]}
            for row in read_history(history)
        )
        plot_path_history(rows, EVOLVED, space, directory / "path_history.png")

    def _members(self, merged: Recipe) -> dict[str, Ingredient | Recipe]:
        sources = dict(
            zip(self.space.parameter.sources, self.prepared.source_ingredients, strict=True)
        )
        return {
            name: merged if name == self.space.merged else sources[name]
            for name in self.space.dataflow.sources
        }


def make_joint_evaluator(
    experiment: Experiment,
    space: JointSpace,
    population_size: int,
    ingredients: Ingredients,
    tasks: dict[str, Any],
    mesh: Mesh,
    evidence: Evidence | None,
) -> Evaluator:
    """What merges, routes and measures candidates: each holds its merge, the sources are shared."""
    merge_fn = make_merge_fn(experiment, space.parameter, ingredients)
    names = space.dataflow.sources
    whole = dict(zip(space.parameter.sources, ingredients.whole_sources(), strict=True))
    stacks = {
        name: jax.tree.map(
            lambda leaf: jnp.asarray(leaf, ingredients.dtype), whole[name].params[LAYERS]
        )
        for name in names
        if name != space.merged
    }

    def candidate(materials: Any, genotype: Genotype) -> Params:
        own, route = space.split(genotype)
        return {**merge_fn(materials, own), paths.PATH: space.dataflow.decode(route)}

    def pooled(candidates: Params, shared: Any) -> Params:
        """Parameters of all candidates, layers of the pool on the first axis."""
        merged = candidates[LAYERS]

        def lay(*parts: Array) -> Array:
            count = parts[names.index(space.merged)].shape[1]
            return jnp.concatenate(
                [
                    part
                    if name == space.merged
                    else jnp.broadcast_to(part[:, None], (len(part), count, *part.shape[1:]))
                    for name, part in zip(names, parts, strict=True)
                ]
            )

        layers = jax.tree.map(
            lay, *(merged if name == space.merged else shared[name] for name in names)
        )
        return {**candidates, LAYERS: layers, paths.PATH: together(candidates[paths.PATH])}

    reference = ingredients.reference
    windows = reference.config.windows * len(names)
    config = dataclasses.replace(
        reference.config, num_layers=reference.config.num_layers * len(names), windows=windows
    )
    axes = {**population_axes(reference.params), paths.PATH: STACKED}
    return Evaluator(
        reference.family,
        config,
        candidate,
        make_materials(experiment, ingredients, evidence),
        tasks,
        mesh=mesh,
        dims=space.dims,
        population_size=population_size,
        chunk=experiment.budget.chunk,
        shared=stacks,
        candidates=Candidates(
            axes=axes,
            params=pooled,
            param_axes={**population_axes(reference.params), paths.PATH: paths.PATH_AXES},
            hops=space.dataflow.hops,
            is_valid=lambda genotypes: decode_all(
                space.dataflow, np.stack([space.split(one)[1] for one in genotypes])
            )[1],
        ),
    )
