"""Merging in parameter space."""

import abc
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from evojax_merge.checkpoints import Model
from evojax_merge.checkpoints.alignment import vocabulary_of
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.measuring.measure import measure
from evojax_merge.params.types import Float, Params
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.report.plots import plot_coefficients
from evojax_merge.runs.problems.base import EVOLVED, Found, Scored
from evojax_merge.runs.problems.merging import Merging
from evojax_merge.spaces import ParameterSpace


@dataclasses.dataclass(frozen=True)
class MergedProblem(abc.ABC):
    """Candidates with parameters of their own, run by one program with the models they come from.

    Attributes:
        merging: What is merged.
        evaluator: Merges and measures candidates.
    """

    merging: Merging
    evaluator: Evaluator

    @abc.abstractmethod
    def recipe(self, found: Found) -> Any:
        """The recipe of a genotype."""

    @abc.abstractmethod
    def build(self, recipe: Any) -> Model:
        """The merged model."""

    def compare(self, model: Model | None, found: Mapping[str, Found], split: str) -> Scored:
        """Sources, published merges and the winners of searches, measured by one program."""
        assert model is not None
        return self._measure(self._contestants(model, found), split)

    def measure(self, model: Model | None, found: Found, split: str) -> Float[np.ndarray, " items"]:
        """Results of the merged model."""
        del found
        assert model is not None
        (measured,) = self.evaluator.measure([model.params], split)
        return measured[0]

    def measure_sources(self, split: str) -> Float[np.ndarray, "sources items"]:
        """Results of each source."""
        sources = self.merging.whole_sources().items()
        named = ((name, source.params) for name, source in sources)
        return np.stack([items for _, items in self._measure(named, split)])

    def _measure(self, named: Iterator[tuple[str, Params]], split: str) -> Scored:
        apart = self._configured_apart()
        names: list[str] = []

        def models() -> Iterator[Params]:
            for name, params in named:
                names.append(name)
                yield params

        scored = 0
        for items, _ in self.evaluator.measure(models(), split):
            name, scored = names[scored], scored + 1
            if name in apart:
                items, _ = measure(apart[name], self.evaluator.tasks[split])
            yield name, items

    def _configured_apart(self) -> dict[str, Model]:
        """The sources whose configuration is not the merge's: measured with their own."""
        reference = self.merging.ingredients.reference
        apart = {}
        for name, source in self.merging.whole_sources().items():
            config = source.config
            rows = vocabulary_of(reference).rows
            if rows:  # their tables of tokens are aligned by now
                config = source.family.with_vocabulary(config, rows)
            if config != reference.config:
                apart[name] = dataclasses.replace(reference, config=config, params=source.params)
        return apart

    def _contestants(
        self, model: Model, found: Mapping[str, Found]
    ) -> Iterator[tuple[str, Params]]:
        baselines = self.merging.experiment.baselines
        if baselines.sources:
            if self.merging.ingredients.base is not None:
                yield "base", self.merging.ingredients.base.params
            for name, source in self.merging.whole_sources().items():
                yield name, source.params
        if baselines.published:
            yield from self.merging.published()
        for name, other in found.items():
            if name != EVOLVED:
                yield name, self.build(self.recipe(other)).params
        yield EVOLVED, model.params


@dataclasses.dataclass(frozen=True)
class ParameterProblem(MergedProblem):
    """Coefficients of a merge operator, per source, group and block of layers.

    Attributes:
        space: Of the coefficients.
    """

    space: ParameterSpace

    def recipe(self, found: Found) -> Recipe:
        """The recipe of a genotype."""
        return self.merging.recipe(self.space, found.genotype, {"evaluations": found.evaluations})

    def build(self, recipe: Recipe) -> Model:
        """The merged model."""
        return self.merging.model(recipe)

    def plot(self, recipe: Recipe, history: Path, directory: Path) -> None:
        """The coefficients as a heat map."""
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
) -> Evaluator:
    """What merges and measures the candidates of an experiment."""
    reference = merging.ingredients.reference
    return Evaluator(
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
