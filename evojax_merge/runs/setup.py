"""What is searched, one search after another, checked first and loaded later."""

import abc
import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from evojax_merge.checkpoints import Checkpoint, Model
from evojax_merge.config.experiment import Experiment, MinibatchConfig, Savers
from evojax_merge.fitness.drawing.showing import shown_of
from evojax_merge.fitness.several import parts_of, tasks_of
from evojax_merge.measuring.device_memory import Memory
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.measuring.mesh import fits_on
from evojax_merge.operators import Evidence
from evojax_merge.runs.problem import GALLERY, RANDOM, Problem, Winner
from evojax_merge.sources.evidence import Items
from evojax_merge.sources.ingredients import Ingredients
from evojax_merge.sources.plan import Plan
from evojax_merge.strategies import Setting, Strategy, make_strategy


@dataclasses.dataclass
class Stage:
    """A search of a run.

    Attributes:
        name: What history and results call it.
        space: What is searched.
        strategy: The strategy that searches it.
        evaluations: How many candidates are asked for, which whole generations may exceed.
        problem: The function that makes the problem from the winners of the searches before it, by
            name; the weights must be loaded by then.
        random: What results call the random search beside it.
        savers: Those of the experiment's savers that are used in it, as `set_up` decides.
    """

    name: str
    space: Any
    strategy: Strategy
    evaluations: int
    problem: Callable[[Mapping[str, Winner]], Problem]
    random: str = RANDOM
    savers: Savers = dataclasses.field(default_factory=Savers)

    @property
    def generations(self) -> int:
        """How many whole generations hold as many candidates as are asked for."""
        return math.ceil(self.evaluations / self.strategy.population_size)

    @property
    def candidates(self) -> int:
        """How many candidates those generations have."""
        return self.generations * self.strategy.population_size


def has_random_search(experiment: Experiment, stage: Stage) -> bool:
    """Whether a random search goes beside a search: where that is asked for and is no such itself.

    Both would propose the same candidates.
    """
    return experiment.baselines.random_search and stage.strategy.name != "RandomSearch"


class Setup(abc.ABC):
    """The searches of an experiment, one after another.

    Attributes:
        stages: The searches, usually one.
        measuring: What makes the evaluator of a search, from the arguments of `Evaluator`.
    """

    def __init__(self, experiment: Experiment, prepared: Plan):
        self.experiment = experiment
        self.prepared = prepared
        self.stages: list[Stage] = []
        task = experiment.task
        if "search" not in task.splits:
            task.on("search")  # which says what is missing
        self.bound: dict[str, Any] = {
            split: task.on(split).bind(prepared.reference)
            for split in task.splits
            if split != "train"
        }
        furthest = next(one for one in ("test", "validation", "search") if one in self.bound)
        if (shown := shown_of(self.bound[furthest])) is not None:
            self.bound[GALLERY] = shown
        for part in tasks_of(self.bound["search"]):
            prepared.reference.family.ability(part.request)  # refused before weights are read
        self.measuring: Callable[..., Any] = Evaluator
        self._items: tuple[Items, ...] = ()
        self._ingredients: Ingredients | None = None
        self._members: list[Model] = []
        self._evidence: Evidence | None = None
        self._mesh: Mesh | None = None

    def describe(self) -> list[str]:
        """Lines that describe the searches to people."""
        experiment, items = self.experiment, len(self.bound["search"])

        def measured(savers: Savers) -> str:
            if not experiment.task.measure.sampled:
                return ""
            given = savers.minibatch
            part = items if given is None else given.get("size", MinibatchConfig.size)
            return f" of {items} items" if part == items else f" of {part} of {items} items"

        searches = [
            f"{experiment.name if stage is self.stages[-1] else stage.name}: "
            f"{stage.space.describe()}, population {stage.strategy.population_size}, "
            f"{_evaluations(stage, measured(stage.savers))}"
            for stage in self.stages
        ]
        return searches + self._without_random_search() + self._unseen()

    def _without_random_search(self) -> list[str]:
        """A line that says so if a random search that is asked for is left out."""
        baselines, last = self.experiment.baselines, self.stages[-1]
        if not baselines.random_search or has_random_search(self.experiment, last):
            return []
        return ["the search is a random search itself, so that there is none beside it"]

    def _unseen(self) -> list[str]:
        """A line that says so if the merge sees pictures and the task has none."""
        reference = self.prepared.reference
        whole = reference.carrier or reference
        pictures = [
            getattr(part.request, "image_token_id", 0) for part in tasks_of(self.bound["search"])
        ]
        if whole.family.parts is None or any(one is not None for one in pictures):
            return []
        name = whole.directory.name
        return [f"{name} sees pictures and the task has none: only its language model is measured"]

    def hashes(self) -> dict[str, dict[str, str]]:
        """The SHA-256 of the ``weights`` that are read, by name, and of the ``items``, by split.

        Those of items are of what a model reads, such as token ids.
        """
        prepared = self.prepared
        weights, items = {}, {}
        ingredients = dict(
            zip(self.experiment.model.source_names, prepared.source_ingredients, strict=True)
        )
        if prepared.base_ingredient is not None:
            ingredients["base"] = prepared.base_ingredient
        for name, one in {**prepared.carrier_ingredients, **ingredients}.items():
            weights[name] = str(one.sha256)
        for split, task in self.bound.items():
            digest = hashlib.sha256()
            # A batch with pictures is a tuple that JAX would take for a leaf.
            batches = [tuple(batch) for part in tasks_of(task) for batch in part.batches]
            for leaf in jax.tree.leaves(batches):
                if isinstance(leaf, jax.ShapeDtypeStruct):
                    continue  # of a base, whose weights are hashed by name
                array = np.ascontiguousarray(leaf)
                digest.update(f"{array.dtype} {array.shape}".encode())
                digest.update(array.reshape(-1).view(np.uint8).data)
            items[split] = digest.hexdigest()
        return {"weights": weights, "items": items}

    def mesh_for(self, models: Sequence[Checkpoint], dtype: np.dtype) -> Mesh:
        """The devices of the search, which are to hold so many models.

        Raises:
            ValueError: The devices are not arranged as asked, or do not hold them.
        """
        held = []
        for model in models:
            shapes = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype),
                model.family.abstract_params(model.config),
            )
            held.append((shapes, model.family.layout(model.config)))
        fits = fits_on(Memory.of(jax.local_devices()[0]), held)
        mesh = self.experiment.mesh(fits=fits)
        taking_part = {device.process_index for device in mesh.devices.flat}
        if len(taking_part) < jax.process_count():
            raise ValueError(
                f"the mesh has devices of {len(taking_part)} of {jax.process_count()} processes; "
                "use mesh=auto, or start as many processes as take part"
            )
        return mesh

    @abc.abstractmethod
    def load(self, directory: Path, tell: Callable[[str], None]) -> None:
        """Read the weights, and collect evidence where the operator asks for it.

        Args:
            directory: The directory of the run, which keeps the evidence.
            tell: The function that shows a message.
        """

    def strategy(self, space: Any) -> Strategy:
        """The experiment's strategy, made for a space.

        Raises:
            ValueError: The strategy cannot search such a space.
        """
        task = self.bound["search"]
        setting = Setting(
            space.lower,
            space.upper,
            space.start,
            getattr(space, "span", None),
            objectives=tuple(part.name for part in parts_of(task)),
            items=len(task),
            matrices=getattr(space, "matrices", ()),
            groups=getattr(space, "gene_groups", None),
            choices=getattr(space, "choices", None),
            experts=getattr(space, "experts", None),
        )
        strategy = make_strategy(self.experiment.strategy, setting)
        strategy.check(task)
        return strategy


def _evaluations(stage: Stage, measured: str) -> str:
    """How many candidates a search evaluates, and why that is more than was asked for."""
    found = f"{stage.candidates} evaluations{measured}"
    if stage.candidates == stage.evaluations:
        return found
    whole = f"whole generations of {stage.strategy.population_size}"
    return f"{found} ({stage.evaluations} rounded up to {whole})"
