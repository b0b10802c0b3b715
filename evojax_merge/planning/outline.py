"""The searches of an experiment by their shapes: what each would give its devices."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from evojax_merge.checkpoints import Model
from evojax_merge.config.experiment import Experiment
from evojax_merge.fitness.base import BoundTask
from evojax_merge.measuring.candidates import Candidates, MergeFn
from evojax_merge.measuring.device_memory import Memory
from evojax_merge.measuring.mesh import make_mesh
from evojax_merge.measuring.workload import Workload, workload
from evojax_merge.models import Family
from evojax_merge.models.split import bytes_per_device, placed, shardings
from evojax_merge.runs.preparation import set_up
from evojax_merge.runs.problem import Winner
from evojax_merge.runs.setup import Setup, Stage


@dataclasses.dataclass
class Outlined:
    """What an `evojax_merge.measuring.evaluator.Evaluator` is made of, and nothing more.

    The attributes are its arguments. Arrays may be shapes.
    """

    family: Family
    config: Any
    merge_fn: MergeFn
    materials: Any
    tasks: Mapping[str, BoundTask]
    mesh: Mesh
    dims: int
    population_size: int
    chunk: int | None = None
    shared: Any = ()
    candidates: Candidates | None = None

    def held(self, mesh: Mesh) -> int:
        """Count the bytes of ``materials`` and ``shared`` on each device."""
        layout = self.family.layout(self.config)
        return bytes_per_device(
            [placed(one, shardings(one, layout, mesh)) for one in (self.materials, self.shared)]
        )

    def on(self, mesh: Mesh, memory: Memory) -> Workload:
        """What devices would hold and run.

        Args:
            mesh: The devices, which need not be there.
            memory: What each of them has free beside ``materials`` and ``shared``.

        Raises:
            ValueError: The models cannot be split so, or a path does not fit.
        """
        return workload(
            self.family,
            self.config,
            self.merge_fn,
            self.materials,
            self.tasks,
            mesh=mesh,
            memory=memory,
            dims=self.dims,
            population_size=self.population_size,
            chunk=self.chunk,
            shared=self.shared,
            candidates=self.candidates,
        )


@dataclasses.dataclass(frozen=True)
class Search:
    """A search by its shapes.

    Attributes:
        stage: The search as it is set up.
        outlined: What it would give its devices.
    """

    stage: Stage
    outlined: Outlined


def outline(
    experiment: Experiment, devices: list[Any], tell: Callable[[str], None]
) -> tuple[Setup, list[Search]]:
    """Set up the searches of an experiment by the shapes of its models. No weights are read.

    Args:
        experiment: The experiment, which is only described (see `Experiment.described`).
        devices: The devices, which need not be there.
        tell: The function that shows a message.

    Raises:
        ValueError: Something makes the experiment impossible.
    """

    def one_device(**others: Any) -> Mesh:
        del others
        return make_mesh(1, 1, devices)

    setup = set_up(dataclasses.replace(experiment, mesh=one_device), Outlined)
    setup.load(Path(), tell)
    searches: list[Search] = []
    winners: dict[str, Winner] = {}
    for stage in setup.stages:
        outlined: Any = stage.problem(winners).evaluator
        outlined.materials, outlined.shared = (
            jax.tree.map(_shape, tree) for tree in (outlined.materials, outlined.shared)
        )
        searches.append(Search(stage, outlined))
        winners[stage.name] = Winner(None, None, _merged(setup))  # type: ignore[arg-type]
    return setup, searches


def _merged(setup: Setup) -> Model | None:
    """The shapes of what a search of parameter space gives the next one."""
    found = setup._ingredients
    if found is None:
        return None
    params = found.reference.family.abstract_params(found.reference.config)

    def cast(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, found.dtype)

    return dataclasses.replace(
        found.reference, params=jax.tree.map(cast, params), dtype=found.dtype
    )


def _shape(leaf: Any) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if hasattr(leaf, "shape") else leaf
