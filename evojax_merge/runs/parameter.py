"""Merging in parameter space."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from evojax_merge.checkpoints import Model
from evojax_merge.gradient import Descendable
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.report.plots import plot_coefficients
from evojax_merge.runs.merged import MergedProblem, MergingSetup
from evojax_merge.runs.merging import Merging
from evojax_merge.runs.problem import Found, Winner
from evojax_merge.runs.setup import Stage
from evojax_merge.spaces import ParameterSpace


@dataclasses.dataclass(frozen=True)
class ParameterProblem(MergedProblem):
    """The coefficients of a merge operator, per source, group and block of layers.

    Attributes:
        space: The space of the coefficients.
    """

    space: ParameterSpace

    def recipe(self, found: Found) -> Recipe:
        """The recipe of a genotype."""
        return self.merging.recipe(self.space, found.genotype, {"evaluations": found.evaluations})

    def build(self, recipe: Recipe) -> Model:
        """The merged model."""
        return self.merging.model(recipe)

    def descendable(self) -> Descendable:
        """What strategies that follow gradients need."""
        reference = self.merging.ingredients.reference
        return Descendable(
            reference.family,
            reference.config,
            self.merging.merge_fn(self.space),
            self.evaluator.materials,
            self.evaluator.tasks["search"],
        )

    def plot(self, recipe: Recipe, history: Path, directory: Path) -> None:
        """Draw the coefficients as a heat map."""
        del history
        plot_coefficients(
            recipe.coefficients, self.space.sources, recipe.segments, directory / "coefficients.png"
        )


def make_evaluator(
    merging: Merging,
    space: ParameterSpace,
    population_size: int,
    tasks: dict[str, Any],
    mesh: Mesh,
    make: Callable[..., Evaluator] = Evaluator,
) -> Evaluator:
    """What merges and measures the candidates of an experiment."""
    reference = merging.ingredients.reference
    return make(
        reference.family,
        reference.config,
        merging.merge_fn(space),
        merging.materials(),
        tasks,
        mesh=mesh,
        dims=space.dims,
        population_size=population_size,
        chunk=merging.experiment.budget.chunk,
    )


def parameter_stage(setup: MergingSetup, name: str, factory: Any, evaluations: int) -> Stage:
    """A search of the parameter space that ``factory`` makes, for ``evaluations`` candidates."""
    experiment = setup.experiment
    space = factory(
        operator=experiment.operator,
        layout=setup.layout,
        sources=experiment.model.source_names,
    )
    strategy = setup.strategy(space)

    def problem(winners: Mapping[str, Winner]) -> ParameterProblem:
        del winners
        merging, mesh = setup.loaded()
        size = strategy.population_size
        evaluator = make_evaluator(merging, space, size, setup.bound, mesh, setup.measuring)
        return ParameterProblem(merging, evaluator, space)

    return Stage(name, space, strategy, evaluations, problem)


class ParameterSetup(MergingSetup):
    """The set-up of a search in parameter space."""

    def _arrange(self) -> None:
        evaluations = self.experiment.budget.evaluations
        self.stages = [parameter_stage(self, "parameter", self.experiment.space, evaluations)]
