"""What a run is made of, free of where its settings came from."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jax.sharding import Mesh

from evojax_merge.documents.arguments import check_whole
from evojax_merge.fitness.base import Task
from evojax_merge.operators.base import Operator
from evojax_merge.operators.statistics.cache import StatisticsCache
from evojax_merge.recipes.coefficients import DTYPES
from evojax_merge.strategies.base import Strategy


@dataclasses.dataclass(frozen=True)
class ModelChoice:
    """The checkpoints to merge.

    Attributes:
        sources: Directories or hub ids.
        base: The model they were fine-tuned from; needed by operators on task vectors.
        names: What tables and plots call the sources; by default the last part of each path.
        dtype: Of the merged parameters; by default the base's, or the first source's.
        tokenizer: Whose tokenizer and configuration the merge carries: ``base``, or the name of a
            source. Without a base it is the first source's.
    """

    sources: list[str]
    base: str | None = None
    names: list[str] | None = None
    dtype: str | None = None
    tokenizer: str = "base"

    def __post_init__(self) -> None:
        for name, given in (("sources", self.sources), ("names", self.names)):
            texts = isinstance(given, list) and all(isinstance(one, str) and one for one in given)
            if not texts and (name == "sources" or given is not None):
                raise ValueError(f"model.{name} is {given!r}; give a list of texts, none empty")
        if not self.sources:
            raise ValueError("model.sources is empty; list at least one checkpoint")
        if self.names is not None and len(self.names) != len(self.sources):
            raise ValueError(
                f"model.names lists {len(self.names)} names for {len(self.sources)} sources"
            )
        names = self.source_names
        if len(set(names)) != len(names):
            raise ValueError(
                f"two sources are called the same ({', '.join(names)}); set model.names"
            )
        if self.dtype not in (None, *DTYPES):
            raise ValueError(f"model.dtype is {self.dtype!r}; use {', '.join(DTYPES)}, or null")
        if self.tokenizer != "base" and self.tokenizer not in names:
            raise ValueError(
                f"model.tokenizer is {self.tokenizer!r}; use base, or one of {', '.join(names)}"
            )

    @property
    def reference(self) -> str | int:
        """``base``, or the index of the source whose tokenizer and configuration are taken."""
        return (
            self.tokenizer if self.tokenizer == "base" else self.source_names.index(self.tokenizer)
        )

    @property
    def source_names(self) -> list[str]:
        """A name for each source."""
        if self.names is not None:
            return self.names
        return [source.rstrip("/").split("/")[-1] for source in self.sources]


@dataclasses.dataclass(frozen=True)
class SearchBudget:
    """How much is evaluated.

    Attributes:
        evaluations: Candidates in all; rounded up to whole generations.
        item_evaluations: Measured items in all, after which the search stops too; None: no limit.
        chunk: Candidates on a device at a time; None: what memory holds.
        curve: Points at which the best candidate so far is measured on the held-out split after the
            search, for the picture of a sweep; 0: none.
        finalists: Best candidates that are scored again on the validation split, where there is
            one, to choose the winner.
    """

    evaluations: int = 1000
    item_evaluations: int | None = None
    chunk: int | None = None
    finalists: int = 8
    curve: int = 0

    def __post_init__(self) -> None:
        check_whole("search.curve", self.curve, 0)
        if self.curve == 1:
            raise ValueError("search.curve is 1; give 0, or at least 2 points")
        for name in ("evaluations", "item_evaluations", "chunk", "finalists"):
            value = getattr(self, name)
            if value is not None:
                check_whole(f"search.{name}", value, 1)


@dataclasses.dataclass(frozen=True)
class Baselines:
    """What the evolved merge is compared with.

    Attributes:
        sources: Every source, and the base.
        published: Plain average, task arithmetic and TIES at their published defaults.
        random_search: The best of a random search with the same number of evaluations.
    """

    sources: bool = True
    published: bool = True
    random_search: bool = False


@dataclasses.dataclass(frozen=True)
class Savers:
    """What saves evaluations.

    Attributes:
        memory: Nothing is measured twice.
        racing: Arguments of `evojax_merge.savers.Racing`; None: no races.
        anchors: Arguments of `evojax_merge.savers.Anchors`; None: no anchors.
        minibatch: Arguments of `evojax_merge.savers.Minibatch`; None: all items.
        automatic: The same, for searches that minibatches fit (`evolution.scoring.fitting`).
    """

    memory: bool = True
    racing: dict[str, Any] | None = None
    anchors: dict[str, Any] | None = None
    minibatch: dict[str, Any] | None = None
    automatic: dict[str, Any] | None = None

    @property
    def partial(self) -> dict[str, dict[str, Any]]:
        """Those that measure a candidate on some of the items, by name."""
        names = ("racing", "anchors", "minibatch")
        return {name: given for name in names if (given := getattr(self, name)) is not None}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that determines a run.

    Attributes:
        name: Names the run's folder.
        seed: Of the search and of the recipes' random masks.
        model: What is merged.
        operator: How; ``operator_target`` and ``operator_arguments`` say how to make it again.
        space: Makes the space, see `evojax_merge.spaces.kind_of`.
        strategy: (lower, upper, start) -> the strategy.
        task: What is measured.
        mesh: () -> the devices.
        budget: How much.
        baselines: Compared with what.
        export: Write the winner as a checkpoint.
        statistics_cache: Where operators' statistics are kept between runs; None: nowhere.
        savers: What saves evaluations.
    """

    name: str
    seed: int
    model: ModelChoice
    operator: Operator
    operator_target: str
    operator_arguments: dict[str, Any]
    space: Any
    strategy: Callable[..., Strategy]
    task: Task
    mesh: Callable[[], Mesh]
    budget: SearchBudget
    baselines: Baselines
    export: bool = True
    statistics_cache: StatisticsCache | None = None
    savers: Savers = Savers()

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; use a whole number from 0 to 2**32 - 1")
