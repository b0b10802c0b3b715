"""From an experiment to what is searched: checked first, loaded later."""

import abc
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from evojax_merge.checkpoints import Model
from evojax_merge.evidence import Items, collect, prepare
from evojax_merge.evolution.problems import (
    DataflowProblem,
    Found,
    JointProblem,
    ParameterProblem,
    Problem,
    WeightsProblem,
)
from evojax_merge.evolution.problems.base import RANDOM, RANDOM_PATHS
from evojax_merge.evolution.problems.dataflow import make_path_evaluator
from evojax_merge.evolution.problems.joint import make_joint_evaluator
from evojax_merge.evolution.problems.merging import Merging
from evojax_merge.evolution.problems.parameter import make_evaluator
from evojax_merge.evolution.problems.weights import make_weights_evaluator
from evojax_merge.evolution.scoring import make_rule
from evojax_merge.experiment import Experiment
from evojax_merge.fitness.several import parts_of
from evojax_merge.ingredients import (
    Ingredients,
    Plan,
    load_ingredients,
    load_members,
    plan,
    plan_pool,
)
from evojax_merge.layout import Layout
from evojax_merge.operators import Evidence, check_sources, linear
from evojax_merge.pool import check_pool, make_pool
from evojax_merge.recipe import Ingredient, Recipe
from evojax_merge.spaces import kind_of
from evojax_merge.spaces.joint import MERGED
from evojax_merge.strategies import Strategy
from evojax_merge.tree import flatten

EVIDENCE = "evidence"
"""Folder of a run that keeps what was collected for operators that ask for evidence."""

PARAMETER_SPACE = "parameter_space"
"""What results call the first stage of a hybrid."""


@dataclasses.dataclass
class Stage:
    """A search of a run.

    Attributes:
        name: What history and results call it.
        space: What is searched.
        strategy: How.
        evaluations: How long.
        problem: Makes the problem; the weights must be loaded by then.
        done: Told the winner.
        random: What results call the random search beside it.
    """

    name: str
    space: Any
    strategy: Strategy
    evaluations: int
    problem: Callable[[], Problem]
    done: Callable[[Found], None] = lambda found: None
    random: str = RANDOM


class Setup(abc.ABC):
    """The searches of an experiment, one after another.

    Attributes:
        stages: Usually one.
    """

    def __init__(self, experiment: Experiment, prepared: Plan):
        self.experiment = experiment
        self.prepared = prepared
        self.stages: list[Stage] = []
        task = experiment.task
        self._bound = {
            split: task.on(split).bind(prepared.reference)
            for split in task.splits
            if split != "train"
        }
        self._items: tuple[Items, ...] = ()
        self._ingredients: Ingredients | None = None
        self._members: list[Model] = []
        self._evidence: Evidence | None = None
        self._mesh: Mesh | None = None

    @classmethod
    def of(cls, experiment: Experiment) -> "Setup":
        """Check everything that can be checked without weights.

        Raises:
            ValueError: Something makes the experiment impossible.
        """
        kinds: dict[str, Callable[[Experiment], Setup]] = {
            "parameter": _ParameterSetup.prepared_for,
            "dataflow": _DataflowSetup.prepared_for,
            "hybrid": _HybridSetup.prepared_for,
            "joint": _JointSetup.prepared_for,
            "weights": _WeightsSetup.prepared_for,
        }
        setup = kinds[kind_of(experiment.space)](experiment)
        for stage in setup.stages:
            make_rule(experiment.savers, setup._bound["search"], stage.strategy)
        return setup

    def describe(self) -> list[str]:
        """Lines for people."""
        experiment, items = self.experiment, len(self._bound["search"])
        return [
            f"{experiment.name if stage is self.stages[-1] else stage.name}: "
            f"{stage.space.describe()}, population {stage.strategy.population_size}, "
            f"{stage.evaluations} evaluations of {items} items"
            for stage in self.stages
        ]

    @abc.abstractmethod
    def load(self, directory: Path, tell: Callable[[str], None]) -> None:
        """Read the weights, and collect evidence where the operator asks for it.

        Args:
            directory: Of the run, which keeps the evidence.
            tell: Gets messages.
        """

    def _strategy(self, space: Any) -> Strategy:
        make = self.experiment.strategy
        box = {"lower": space.lower, "upper": space.upper, "start": space.start}
        box |= self._told(make, space)
        if getattr(space, "span", None) is None:
            strategy = make(**box)
            if hasattr(strategy, "check"):
                strategy.check(self._bound["search"])
            return strategy
        made = getattr(make, "func", make)
        name = getattr(made, "__name__", "strategy")
        if hasattr(made, "bind"):
            raise ValueError(f"{name} follows gradients, of space=parameter only")
        if "span" not in inspect.signature(make).parameters:
            raise ValueError(
                f"{name} takes no span, which genes of a {kind_of(self.experiment.space)} space "
                "have besides their bounds; use another strategy"
            )
        return make(**box, span=space.span)

    def _told(self, make: Callable[..., Strategy], space: Any) -> dict[str, Any]:
        """What a strategy asks to know: names of the objectives, number of items, matrices."""
        bound = self._bound["search"]
        known = {
            "objectives": tuple(part.name for part in parts_of(bound)),
            "items": len(bound),
            "matrices": getattr(space, "matrices", None),
        }
        asked = inspect.signature(make).parameters
        if (
            getattr(getattr(make, "func", make), "hears", "fitness") == "objectives"
            and not (known["objectives"])
        ):
            raise ValueError(
                f"{getattr(getattr(make, 'func', make), '__name__', 'strategy')} weighs several "
                "objectives against each other; give two tasks or more, as "
                "'fitness=[generation,perplexity]'"
            )
        return {name: value for name, value in known.items() if name in asked}


class _MergingSetup(Setup):
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
        return Layout.of(reference.family, reference.config)

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
            directory / EVIDENCE,
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
            evaluator = make_evaluator(merging, space, size, self._bound, mesh)
            return ParameterProblem(merging, evaluator, space)

        return Stage(name, space, strategy, evaluations, problem)


class _ParameterSetup(_MergingSetup):
    def _arrange(self) -> None:
        evaluations = self.experiment.budget.evaluations
        self.stages = [self._parameter_stage("parameter", self.experiment.space, evaluations)]


class _WeightsSetup(_MergingSetup):
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
            evaluator = make_weights_evaluator(merging, space, size, self._bound, mesh)
            return WeightsProblem(merging, evaluator, space)

        self.stages = [Stage("weights", space, strategy, experiment.budget.evaluations, problem)]


class _JointSetup(_MergingSetup):
    def _arrange(self) -> None:
        experiment = self.experiment
        space = experiment.space(
            operator=experiment.operator,
            layout=_routable(self.prepared, self._layout),
            sources=experiment.model.source_names,
        )
        self._check_pool(space.dataflow.sources)
        strategy = self._strategy(space)

        def problem() -> JointProblem:
            merging, mesh = self._loaded()
            size = strategy.population_size
            evaluator = make_joint_evaluator(merging, space, size, self._bound, mesh)
            return JointProblem(merging, space, evaluator)

        self.stages = [Stage("joint", space, strategy, experiment.budget.evaluations, problem)]


class _DataflowSetup(Setup):
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
                setup._bound,
                setup._mesh,
            )

        setup.stages = [Stage("dataflow", space, strategy, experiment.budget.evaluations, problem)]
        return setup

    def load(self, directory: Path, tell: Callable[[str], None]) -> None:
        self._mesh = self.experiment.mesh()
        self._members = load_members(self.prepared)


class _HybridSetup(_MergingSetup):
    def _arrange(self) -> None:
        experiment = self.experiment
        hybrid, names = experiment.space, experiment.model.source_names
        evaluations = experiment.budget.evaluations
        first = max(1, round(hybrid.share * evaluations))
        stage = self._parameter_stage(PARAMETER_SPACE, hybrid.parameter, first)
        layout = _routable(self.prepared, self._layout)
        pool = hybrid.members(names)
        self._check_pool(pool)
        space = hybrid.dataflow(sources=pool, layers=[layout.num_layers] * len(pool))
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
                self._bound,
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


def _routable(prepared: Plan, layout: Layout) -> Layout:
    """The layout of models whose layers can be routed.

    Raises:
        ValueError: They have no layers.
    """
    if not layout.num_layers:
        raise ValueError(
            f"{prepared.reference.directory}: is a {prepared.reference.family.name}; layers can be "
            "routed in decoders only"
        )
    return layout
