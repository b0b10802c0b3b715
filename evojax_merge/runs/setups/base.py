"""What is searched, one search after another: checked first, loaded later."""

import abc
import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from evojax_merge.checkpoints import Model
from evojax_merge.config.experiment import Experiment, Savers
from evojax_merge.fitness.several import parts_of, tasks_of
from evojax_merge.operators import Evidence
from evojax_merge.runs.problems import Found, Problem
from evojax_merge.runs.problems.base import RANDOM
from evojax_merge.savers.minibatch import SIZE
from evojax_merge.sources.evidence import Items
from evojax_merge.sources.ingredients import Ingredients, Plan
from evojax_merge.spaces import kind_of
from evojax_merge.strategies import Strategy


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
        savers: What saves evaluations of it; `set_up` says which of the experiment's.
    """

    name: str
    space: Any
    strategy: Strategy
    evaluations: int
    problem: Callable[[], Problem]
    done: Callable[[Found], None] = lambda found: None
    random: str = RANDOM
    savers: Savers = dataclasses.field(default_factory=Savers)


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
        self.bound = {
            split: task.on(split).bind(prepared.reference)
            for split in task.splits
            if split != "train"
        }
        for part in tasks_of(self.bound["search"]):
            prepared.reference.family.ability(part.request)  # refused before weights are read
        self._items: tuple[Items, ...] = ()
        self._ingredients: Ingredients | None = None
        self._members: list[Model] = []
        self._evidence: Evidence | None = None
        self._mesh: Mesh | None = None

    def describe(self) -> list[str]:
        """Lines for people."""
        experiment, items = self.experiment, len(self.bound["search"])

        def measured(savers: Savers) -> str:
            part = items if savers.minibatch is None else savers.minibatch.get("size", SIZE)
            return f"{items}" if part == items else f"{part} of {items}"

        return [
            f"{experiment.name if stage is self.stages[-1] else stage.name}: "
            f"{stage.space.describe()}, population {stage.strategy.population_size}, "
            f"{stage.evaluations} evaluations of {measured(stage.savers)} items"
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
                strategy.check(self.bound["search"])
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
        bound = self.bound["search"]
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
