"""Searches for paths: through models as they are, after a merge, or together with one."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from evojax_merge.checkpoints import Model
from evojax_merge.config.experiment import Experiment
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.runs.problems import (
    DataflowProblem,
    Found,
    JointProblem,
    ParameterProblem,
    Problem,
)
from evojax_merge.runs.problems.base import RANDOM_PATHS
from evojax_merge.runs.problems.dataflow import make_path_evaluator
from evojax_merge.runs.problems.joint import make_joint_evaluator
from evojax_merge.runs.setups.base import Setup, Stage
from evojax_merge.runs.setups.merging import MergingSetup, routable
from evojax_merge.sources.ingredients import Plan, load_members, plan_pool
from evojax_merge.sources.pool import make_pool
from evojax_merge.sources.reference import Ingredient
from evojax_merge.spaces.joint import MERGED
from evojax_merge.strategies import Strategy

PARAMETER_SPACE = "parameter_space"
"""What results call the first stage of a hybrid."""


class DataflowSetup(Setup):
    """Of experiments that merge nothing."""

    @classmethod
    def prepared_for(cls, experiment: Experiment) -> "Setup":
        choice = experiment.model
        names = choice.source_names
        prepared = plan_pool(choice.base, choice.sources, names, choice.dtype)
        layers = [source.config.num_layers for source in prepared.wholes]
        if choice.tokenizer != "base":
            raise ValueError(
                "model.tokenizer: the tokenizer of a data-flow merge is that of its skeleton; set "
                f"space.skeleton={choice.tokenizer}"
            )
        space = experiment.space(sources=names, layers=layers)
        dtype = prepared.dtype if choice.dtype else prepared.wholes[space.skeleton].dtype
        setup = cls(
            experiment, dataclasses.replace(prepared, reference_name=space.skeleton, dtype=dtype)
        )
        strategy = setup._strategy(space)

        def problem() -> DataflowProblem:
            models = dict(zip(names, setup._members, strict=True))
            members = dict(zip(names, prepared.source_ingredients, strict=True))
            return routed_problem(
                experiment,
                setup.prepared,
                space,
                strategy,
                models,
                members,
                setup.bound,
                setup._mesh,
            )

        setup.stages = [Stage("dataflow", space, strategy, experiment.budget.evaluations, problem)]
        return setup

    def load(self, directory: Path, tell: Callable[[str], None]) -> None:
        self._mesh = self.experiment.mesh()
        self._members = load_members(self.prepared)


class HybridSetup(MergingSetup):
    def _arrange(self) -> None:
        experiment = self.experiment
        hybrid, names = experiment.space, experiment.model.source_names
        evaluations = experiment.budget.evaluations
        first = max(1, round(hybrid.share * evaluations))
        stage = self._parameter_stage(PARAMETER_SPACE, hybrid.parameter, first)
        layout = routable(self.prepared, self._layout)
        pool = hybrid.members(names)
        self._check_pool(pool)
        space = hybrid.dataflow(sources=pool, layers=[layout.depth()] * len(pool))
        strategy = self._strategy(space)
        first = -(-first // stage.strategy.population_size) * stage.strategy.population_size
        merged: list[tuple[Recipe, Model]] = []
        make = stage.problem

        def first_problem() -> Problem:
            problem = make()
            assert isinstance(problem, ParameterProblem)

            def done(found: Found) -> None:
                recipe = problem.recipe(found)
                merged.append((recipe, problem.build(recipe)))
                stage.done = lambda found: None  # lets go of the problem

            stage.done = done
            return problem

        def second_problem() -> DataflowProblem:
            assert self._ingredients is not None
            recipe, model = merged[0]
            models = dict(zip(names, self._ingredients.whole_sources(), strict=True))
            members: dict[str, Ingredient | Recipe] = dict(
                zip(names, self.prepared.source_ingredients, strict=True)
            )
            return routed_problem(
                experiment,
                self.prepared,
                space,
                strategy,
                {**models, MERGED: model},
                {**members, MERGED: recipe},
                self.bound,
                self._mesh,
            )

        stage.problem = first_problem
        self.stages = [
            stage,
            Stage(
                "hybrid",
                space,
                strategy,
                max(1, evaluations - first),
                second_problem,
                random=RANDOM_PATHS,
            ),
        ]


class JointSetup(MergingSetup):
    def _arrange(self) -> None:
        experiment = self.experiment
        space = experiment.space(
            operator=experiment.operator,
            layout=routable(self.prepared, self._layout),
            sources=experiment.model.source_names,
        )
        self._check_pool(space.dataflow.sources)
        strategy = self._strategy(space)

        def problem() -> JointProblem:
            merging, mesh = self._loaded()
            size = strategy.population_size
            evaluator = make_joint_evaluator(merging, space, size, self.bound, mesh)
            return JointProblem(merging, space, evaluator)

        self.stages = [Stage("joint", space, strategy, experiment.budget.evaluations, problem)]


def routed_problem(
    experiment: Experiment,
    prepared: Plan,
    space: Any,
    strategy: Strategy,
    models: Mapping[str, Model],
    members: Mapping[str, Ingredient | Recipe],
    tasks: dict[str, Any],
    mesh: Mesh | None,
) -> DataflowProblem:
    """A data-flow search over loaded models; those that the space does not name are baselines."""
    assert mesh is not None
    names = space.sources
    dtype = np.dtype(prepared.dtype)
    pool = make_pool([models[name] for name in names], names, space.skeleton, dtype)
    evaluator = make_path_evaluator(experiment, space, strategy.population_size, pool, tasks, mesh)
    shown = {PARAMETER_SPACE if name == MERGED else name: model for name, model in models.items()}
    own = {name: members[name] for name in names}
    return DataflowProblem(experiment, space, pool, own, shown, prepared.base_ingredient, evaluator)
