"""Searches for merges: of parameters, and among models themselves."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from evojax_merge.config.experiment import Experiment
from evojax_merge.models import Layout
from evojax_merge.operators import check_sources, linear
from evojax_merge.params.tree import flatten
from evojax_merge.runs.problems import ParameterProblem, WeightsProblem
from evojax_merge.runs.problems.merging import Merging
from evojax_merge.runs.problems.parameter import make_evaluator
from evojax_merge.runs.problems.weights import make_weights_evaluator
from evojax_merge.runs.setups.base import Setup, Stage
from evojax_merge.sources.evidence import FOLDER, collect, prepare
from evojax_merge.sources.ingredients import Plan, load_ingredients, plan
from evojax_merge.sources.pool import check_pool
from evojax_merge.spaces.joint import MERGED


class MergingSetup(Setup):
    """Of experiments that merge parameters."""

    @classmethod
    def prepared_for(cls, experiment: Experiment) -> "Setup":
        choice, operator = experiment.model, experiment.operator
        check_sources(operator, len(choice.sources), choice.base is not None)
        prepared = plan(choice.base, choice.sources, choice.reference, choice.dtype)
        setup = cls(experiment, prepared)
        setup._arrange()
        setup._items = prepare(operator, prepared.reference, len(choice.sources))
        return setup

    @property
    def _layout(self) -> Layout:
        reference = self.prepared.reference
        return reference.family.layout(reference.config)

    @abc.abstractmethod
    def _arrange(self) -> None:
        """Make the stages."""

    def load(self, directory: Path, tell: Callable[[str], None]) -> None:
        experiment = self.experiment
        self._mesh = experiment.mesh()
        self._ingredients = load_ingredients(self.prepared)
        names = experiment.model.source_names
        self._ingredients.check_task_vectors(experiment.operator, names)
        self._evidence = collect(
            experiment.operator,
            self._items,
            self._ingredients.whole_sources(),
            names,
            directory / FOLDER,
            tell,
        )

    def _check_pool(self, names: Sequence[str]) -> None:
        """Whether the layers of a pool, the merge's among them, can follow one another."""
        bodies = dict(zip(self.experiment.model.source_names, self.prepared.wholes, strict=True))
        bodies[MERGED] = self.prepared.reference
        check_pool(names, [bodies[name] for name in names])

    def _loaded(self) -> tuple[Merging, Mesh]:
        assert self._ingredients is not None
        assert self._mesh is not None
        merging = Merging(
            self.experiment, self.prepared, self._ingredients, self._items, self._evidence
        )
        return merging, self._mesh

    def _parameter_stage(self, name: str, factory: Any, evaluations: int) -> Stage:
        experiment = self.experiment
        space = factory(
            operator=experiment.operator,
            layout=self._layout,
            sources=experiment.model.source_names,
        )
        strategy = self._strategy(space)

        def problem() -> ParameterProblem:
            merging, mesh = self._loaded()
            size = strategy.population_size
            evaluator = make_evaluator(merging, space, size, self.bound, mesh)
            return ParameterProblem(merging, evaluator, space)

        return Stage(name, space, strategy, evaluations, problem)


class ParameterSetup(MergingSetup):
    def _arrange(self) -> None:
        evaluations = self.experiment.budget.evaluations
        self.stages = [self._parameter_stage("parameter", self.experiment.space, evaluations)]


class WeightsSetup(MergingSetup):
    """Of searches among models themselves, for which the experiment's operator is not used."""

    @classmethod
    def prepared_for(cls, experiment: Experiment) -> "Setup":
        return super().prepared_for(dataclasses.replace(experiment, operator=linear()))

    def _arrange(self) -> None:
        experiment, prepared = self.experiment, self.prepared
        reference = prepared.reference
        if prepared.dtype != np.float32:
            raise ValueError(
                f"space=weights evolves float32 weights, and these are {prepared.dtype.name}; set "
                "model.dtype=float32"
            )
        shapes = flatten(reference.family.abstract_params(reference.config))
        space = experiment.space(
            shapes={path: leaf.shape for path, leaf in shapes.items()}, layout=self._layout
        )
        if space.origin == "base" and prepared.base is None:
            raise ValueError("space.origin=base measures genes from a base; give model.base")
        strategy = self._strategy(space)

        def problem() -> WeightsProblem:
            merging, mesh = self._loaded()
            size = strategy.population_size
            evaluator = make_weights_evaluator(merging, space, size, self.bound, mesh)
            return WeightsProblem(merging, evaluator, space)

        self.stages = [Stage("weights", space, strategy, experiment.budget.evaluations, problem)]


def routable(prepared: Plan, layout: Layout) -> Layout:
    """The layout of models whose layers can be routed.

    Raises:
        ValueError: They have no layers.
    """
    if not layout.depth():
        raise ValueError(
            f"{prepared.reference.directory}: is a {prepared.reference.family.name}; layers can be "
            "routed in decoders only"
        )
    return layout
