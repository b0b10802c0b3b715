"""Both spaces at once: a merge and a path through its layers and those of its sources."""

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
from evojax_merge.measuring.candidates import Candidates
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.models.decoder import path as paths
from evojax_merge.models.decoder.params import STACK as LAYERS
from evojax_merge.models.split import bytes_per_device
from evojax_merge.params.abstract import computed
from evojax_merge.params.types import Array, Float, Genotype, Params
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.recipes.path import PathRecipe
from evojax_merge.report.paths import plot_path, plot_path_history
from evojax_merge.report.plots import plot_coefficients
from evojax_merge.runs.dataflow import (
    STACKED,
    compare_paths,
    measure_plain,
    path_recipe,
    plain,
    together,
)
from evojax_merge.runs.merged import MergingSetup, routable
from evojax_merge.runs.merging import Merging
from evojax_merge.runs.problem import EVOLVED, Found, Problem, Scored, Winner
from evojax_merge.runs.setup import Stage
from evojax_merge.search.history import read_history
from evojax_merge.sources.pool import make_pool
from evojax_merge.sources.reference import Ingredient
from evojax_merge.spaces import JointSpace


@dataclasses.dataclass(frozen=True)
class JointProblem(Problem):
    """A genotype of parameter space and one of data-flow space, evolved together.

    Attributes:
        merging: What is merged.
        space: The product of both spaces.
        evaluator: What merges, routes and measures candidates.
    """

    merging: Merging
    space: JointSpace
    evaluator: Evaluator

    def recipe(self, found: Found) -> PathRecipe:
        """The recipe of a genotype, in whose pool the merge is a recipe of its own."""
        own, route = self.space.split(found.genotype)
        return path_recipe(
            self.space.dataflow,
            self.space.dataflow.decode(jnp.asarray(route)),
            self._members(self.merging.recipe(self.space.parameter, own, {})),
            base=self.merging.prepared.base_ingredient,
            dtype=self.merging.ingredients.dtype.name,
            notes={"experiment": self.merging.experiment.name, "evaluations": found.evaluations},
        )

    def build(self, recipe: PathRecipe) -> Model:
        """Merge, and make a plain model of the path."""
        merged = recipe.pool[self.space.merged]
        assert isinstance(merged, Recipe)
        whole = self.merging.whole_sources()
        whole[self.space.merged] = self.merging.model(merged)
        members = list(recipe.pool)
        pool = make_pool(
            [whole[name] for name in members],
            members,
            members.index(recipe.skeleton),
            self.merging.ingredients.dtype,
        )
        return plain(pool, recipe.path(dict(zip(members, pool.layers, strict=True))))

    def compare(self, model: Model | None, found: Mapping[str, Found], split: str) -> Scored:
        """The results of the sources, the winners of searches and the exported checkpoint."""
        ingredients, shown = self.merging.ingredients, {}
        if self.merging.experiment.baselines.sources:
            base = {} if ingredients.base is None else {"base": ingredients.base}
            shown = base | self.merging.whole_sources()
        task = self.merging.experiment.task.on(split)
        return compare_paths(self, task, shown, model, found)

    def measure(self, model: Model | None, found: Found, split: str) -> Float[np.ndarray, " items"]:
        """The results of a candidate, built and run as in the search."""
        del model
        return self.evaluator(found.genotype[None], split).items[0]

    def measure_sources(self, split: str) -> Float[np.ndarray, "sources items"]:
        """The results of each source."""
        task = self.merging.experiment.task.on(split)
        measured = measure_plain(self.merging.whole_sources(), task)
        return np.stack([one.items for one in measured])

    def plot(self, recipe: PathRecipe, history: Path, directory: Path) -> None:
        """Draw the merge's coefficients, the path, and how paths changed during the search."""
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
            {**row, "genotype": self.space.split(np.asarray(row["genotype"]))[1]}
            for row in read_history(history)
        )
        plot_path_history(rows, EVOLVED, space, directory / "path_history.png")

    def _members(self, merged: Recipe) -> dict[str, Ingredient | Recipe]:
        names, prepared = self.space.parameter.sources, self.merging.prepared
        sources = dict(zip(names, prepared.source_ingredients, strict=True))
        return {
            name: merged if name == self.space.merged else sources[name]
            for name in self.space.dataflow.sources
        }


def make_joint_evaluator(
    merging: Merging,
    space: JointSpace,
    population_size: int,
    tasks: dict[str, Any],
    mesh: Mesh,
    make: Callable[..., Evaluator] = Evaluator,
) -> Evaluator:
    """What merges, routes and measures candidates, which share the sources but not the merge."""
    merge_fn = merging.merge_fn(space.parameter)
    ingredients, names = merging.ingredients, space.dataflow.sources
    whole = merging.whole_sources()
    stacks = {
        name: jax.tree.map(
            functools.partial(computed, lambda leaf: jnp.asarray(leaf, ingredients.dtype)),
            whole[name].params[LAYERS],
        )
        for name in names
        if name != space.merged
    }

    reference = ingredients.reference
    skeleton = names[space.dataflow.skeleton]
    frame = {} if skeleton == space.merged else _without_layers(whole[skeleton].params)

    def candidate(materials: Any, genotype: Genotype) -> Params:
        own, route = space.split(genotype)
        return {**merge_fn(materials, own), paths.PATH: space.dataflow.decode(route)}

    def pooled(candidates: Params, shared: Any) -> Params:
        """The parameters of all candidates, with the layers of the pool on the first axis."""
        stacks, frame = shared

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
            lay, *(candidates[LAYERS] if name == space.merged else stacks[name] for name in names)
        )
        path = together(candidates[paths.PATH])
        return {**candidates, **frame, LAYERS: layers, paths.PATH: path}

    configs = [reference.config if n == space.merged else whole[n].config for n in names]
    config = dataclasses.replace(
        reference.config,
        num_layers=sum(one.num_layers for one in configs),
        windows=tuple(window for one in configs for window in one.windows),
    )
    own_axes = reference.family.layout(reference.config).population_axes()
    frame_axes = jax.tree.map(lambda leaf: None, frame)
    return make(
        reference.family,
        config,
        candidate,
        merging.materials(),
        tasks,
        mesh=mesh,
        dims=space.dims,
        population_size=population_size,
        chunk=merging.experiment.budget.chunk,
        shared=(stacks, frame),
        candidates=Candidates(
            axes={**own_axes, paths.PATH: STACKED},
            params=pooled,
            param_axes={**own_axes, **frame_axes, paths.PATH: paths.PATH_AXES},
            hops=space.dataflow.hops,
            copied=len(names) * bytes_per_device(reference.params[LAYERS]),
            is_valid=lambda genotypes: space.dataflow.decode_all(
                np.stack([space.split(one)[1] for one in genotypes])
            )[1],
        ),
    )


def _without_layers(params: Params) -> Params:
    return {name: part for name, part in params.items() if name != LAYERS}


class JointSetup(MergingSetup):
    """The set-up of a search in both spaces at once."""

    def _arrange(self) -> None:
        experiment = self.experiment
        space = experiment.space(
            operator=experiment.operator,
            layout=routable(self.prepared, self.layout),
            sources=experiment.model.source_names,
        )
        self.check_pool(space.dataflow.sources)
        strategy = self.strategy(space)

        def problem(winners: Mapping[str, Winner]) -> JointProblem:
            del winners
            merging, mesh = self.loaded()
            size = strategy.population_size
            evaluator = make_joint_evaluator(merging, space, size, self.bound, mesh, self.measuring)
            return JointProblem(merging, space, evaluator)

        self.stages = [Stage("joint", space, strategy, experiment.budget.evaluations, problem)]
