"""Merging in data-flow space, where the path through the layers changes and no weight does."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from evojax_merge.checkpoints import Model
from evojax_merge.config.experiment import Experiment
from evojax_merge.fitness.base import BoundTask, Task
from evojax_merge.measuring.candidates import Candidates
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.measuring.measure import measure
from evojax_merge.measuring.mesh import split_over
from evojax_merge.models.decoder import path as paths
from evojax_merge.models.decoder.absorb import AbsorptionError
from evojax_merge.params.types import Float, Genotype, Params
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.recipes.path import Hop, PathRecipe
from evojax_merge.report.paths import plot_path, plot_path_history
from evojax_merge.runs.problem import (
    EVOLVED,
    EXPORTED,
    Found,
    InexpressibleError,
    Measured,
    Problem,
    Scored,
    Winner,
)
from evojax_merge.runs.setup import Setup, Stage
from evojax_merge.search.history import read_history
from evojax_merge.sources.ingredients import load_members
from evojax_merge.sources.plan import Plan, plan_pool
from evojax_merge.sources.pool import Pool, make_pool
from evojax_merge.sources.reference import Ingredient
from evojax_merge.spaces.dataflow import DataflowSpace
from evojax_merge.strategies import Strategy

STACKED = paths.Path(0, 0, 0, 0, 0)  # type: ignore[arg-type]
"""The axis of the population in the paths of candidates, each of which is a path of its own."""


@dataclasses.dataclass(frozen=True)
class DataflowProblem(Problem):
    """Paths through the layers of a pool.

    Attributes:
        experiment: What is done.
        space: The space of the paths.
        pool: The layers that paths go through.
        members: Where each model of the pool comes from, by name.
        models: The models of the pool, and others to compare with, by name.
        base: The model that adapters among the members were trained on.
        evaluator: What runs and measures paths.
    """

    experiment: Experiment
    space: DataflowSpace
    pool: Pool
    members: Mapping[str, Ingredient | Recipe]
    models: Mapping[str, Model]
    base: Ingredient | None
    evaluator: Evaluator

    def recipe(self, found: Found) -> PathRecipe:
        """The recipe of a genotype."""
        return path_recipe(
            self.space,
            self.space.decode(jax.numpy.asarray(found.genotype)),
            self.members,
            base=self.base,
            dtype=self.pool.skeleton.dtype.name,
            notes={"experiment": self.experiment.name, "evaluations": found.evaluations},
        )

    def build(self, recipe: PathRecipe) -> Model:
        """The path as a plain model, its scales absorbed into the weights."""
        layers = dict(zip(self.pool.names, self.pool.layers, strict=True))
        return plain(self.pool, recipe.path(layers))

    def compare(self, model: Model | None, found: Mapping[str, Found], split: str) -> Scored:
        """The results of the pool's models, the winners of searches and the exported checkpoint."""
        shown = self.models if self.experiment.baselines.sources else {}
        return compare_paths(self, self.experiment.task.on(split), shown, model, found)

    def measure(self, model: Model | None, found: Found, split: str) -> Float[np.ndarray, " items"]:
        """The results of a path, run as in the search."""
        del model
        return self.evaluator(found.genotype[None], split).items[0]

    def measure_sources(self, split: str) -> Float[np.ndarray, "sources items"]:
        """The results of each model, those outside the pool among them."""
        task = self.experiment.task.on(split)
        return np.stack([one.items for one in measure_plain(self.models, task)])

    def plot(self, recipe: PathRecipe, history: Path, directory: Path) -> None:
        """Draw the path, and how paths changed during the search."""
        layers = dict(zip(self.pool.names, self.pool.layers, strict=True))
        plot_path(recipe.hops, layers, directory / "path.png")
        plot_path_history(
            read_history(history), EVOLVED, self.space, directory / "path_history.png"
        )


def plain(pool: Pool, path: paths.Path) -> Model:
    """The model that computes what a path does, its scales absorbed into the weights.

    Raises:
        InexpressibleError: Plain weights cannot express the path.
    """
    try:
        return pool.plain(path)
    except AbsorptionError as error:
        raise InexpressibleError(str(error)) from error


def compare_paths(
    problem: Problem,
    task: Task,
    shown: Mapping[str, Model],
    model: Model | None,
    found: Mapping[str, Found],
) -> Scored:
    """The results of plain models, each with its own tokenizer, of the winners of searches, run as
    they were searched, and of the exported model."""
    yield from measure_plain(shown, task)
    for name in [*(name for name in found if name != EVOLVED), EVOLVED]:
        split, genotype = task.current_split, found[name].genotype
        items, outputs = problem.evaluator.measure_one(genotype, split)
        details = functools.partial(problem.evaluator.tasks[split].details, outputs, 0)
        yield Measured(name, items, details=details)
    if model is not None:
        yield _measured(EXPORTED, model, problem.evaluator.tasks[task.current_split])


def measure_plain(models: Mapping[str, Model], task: Task) -> Scored:
    """The results of plain models by name, each with its own tokenizer.

    A model that the task cannot measure by itself is left out with a warning: a member of a pool
    may be one that reads text alone, where the task has pictures.
    """
    for name, model in models.items():
        try:
            bound = task.bind(model)
        except ValueError as error:
            warnings.warn(f"{name} is left out of the comparison: {error}", stacklevel=2)
            continue
        yield _measured(name, model, bound)


def _measured(name: str, model: Model, bound: BoundTask) -> Measured:
    items, outputs = measure(model, bound)
    return Measured(name, items, details=functools.partial(bound.details, outputs, 0))


def make_path_evaluator(
    experiment: Experiment,
    space: DataflowSpace,
    population_size: int,
    pool: Pool,
    tasks: dict[str, Any],
    mesh: Mesh,
    make: Callable[..., Evaluator] = Evaluator,
) -> Evaluator:
    """What runs and measures the paths of an experiment; the pool is held once."""

    def path_of(materials: Any, genotype: Genotype) -> paths.Path:
        del materials
        return space.decode(genotype)

    return make(
        pool.skeleton.family,
        pool.config,
        path_of,
        (),
        tasks,
        mesh=mesh,
        dims=space.dims,
        population_size=population_size,
        chunk=experiment.budget.chunk,
        shared=pool.params,
        candidates=Candidates(
            axes=STACKED,
            params=lambda candidates, shared: {**shared, paths.PATH: together(candidates)},
            param_axes=shared_axes(pool.params),
            hops=space.hops,
            is_valid=lambda genotypes: space.decode_all(genotypes)[1],
        ),
    )


def together(candidates: paths.Path) -> paths.Path:
    """Paths that are run at once, cut to as many hops as the longest has."""
    return candidates._replace(steps=candidates.length.max())


def shared_axes(params: Params) -> dict[str, Any]:
    """The axes of a population of paths through one pool."""
    return {**jax.tree.map(lambda leaf: None, params), paths.PATH: paths.PATH_AXES}


def path_recipe(
    space: DataflowSpace,
    path: paths.Path,
    members: Mapping[str, Ingredient | Recipe],
    *,
    base: Ingredient | None,
    dtype: str,
    notes: dict[str, Any],
) -> PathRecipe:
    """The recipe of a path of a space."""
    length = int(path.length)
    layers: Sequence[int] = np.asarray(path.layer)[:length].tolist()
    scales = np.asarray(path.branch)[:length]
    hops = tuple(
        Hop(*space.name_layer(layer), float(scale))
        for layer, scale in zip(layers, scales, strict=True)
    )
    return PathRecipe(
        pool=dict(members),
        skeleton=space.sources[space.skeleton],
        hops=hops,
        scaling=space.semantics,
        dtype=dtype,
        base=base,
        notes=notes,
    )


def routed_problem(
    experiment: Experiment,
    prepared: Plan,
    space: Any,
    strategy: Strategy,
    models: Mapping[str, Model],
    members: Mapping[str, Ingredient | Recipe],
    tasks: dict[str, Any],
    mesh: Mesh | None,
    shown_as: Mapping[str, str] = MappingProxyType({}),
    make: Callable[..., Evaluator] = Evaluator,
) -> DataflowProblem:
    """A data-flow search over loaded models, of which those outside the space are baselines."""
    assert mesh is not None
    names = space.sources
    dtype = np.dtype(prepared.dtype)
    pool = make_pool([models[name] for name in names], names, space.skeleton, dtype)
    size = strategy.population_size
    evaluator = make_path_evaluator(experiment, space, size, pool, tasks, mesh, make)
    shown = {shown_as.get(name, name): model for name, model in models.items()}
    own = {name: members[name] for name in names}
    return DataflowProblem(experiment, space, pool, own, shown, prepared.base_ingredient, evaluator)


class DataflowSetup(Setup):
    """The set-up of experiments that merge nothing."""

    @classmethod
    def prepared_for(cls, experiment: Experiment) -> "Setup":
        choice = experiment.model
        names = choice.source_names
        if choice.parts is not None and len(choice.parts) > 1:
            raise ValueError(
                f"model.parts is {', '.join(choice.parts)}; layers can be routed in decoders only, "
                "so name one part, or leave it out"
            )
        if choice.carriers:
            raise ValueError(
                "model.carriers: layers can be routed in decoders only, which have no parts; leave "
                "it out"
            )
        prepared = plan_pool(
            choice.base,
            choice.sources,
            names,
            choice.dtype,
            choice.parts,
            experiment.described,
        )
        layers = [source.config.num_layers for source in prepared.wholes]
        if choice.carrier is not None:
            raise ValueError(
                "model.carrier: the carrier of a data-flow merge is its skeleton; leave it out and "
                "set space.skeleton to the name of that source"
            )
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
        strategy = setup.strategy(space)

        def problem(winners: Mapping[str, Winner]) -> DataflowProblem:
            del winners
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
                make=setup.measuring,
            )

        setup.stages = [Stage("dataflow", space, strategy, experiment.budget.evaluations, problem)]
        return setup

    def load(self, directory: Path, tell: Callable[[str], None]) -> None:
        prepared = self.prepared
        self._mesh = self.mesh_for(prepared.wholes, prepared.dtype)
        self._members = load_members(prepared, split_over(self._mesh))
