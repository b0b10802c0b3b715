"""What a run is made of, free of where its settings came from.

`ModelChoice`, `SearchBudget`, `Baselines` and the settings of savers are also the types of their
keys in the configuration (see `schema`), which has their defaults. Hydra cannot override frozen
dataclasses, so they are not.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jax.sharding import Mesh

from evojax_merge.documents.arguments import check_whole
from evojax_merge.fitness.base import Task
from evojax_merge.operators.base import Operator
from evojax_merge.operators.statistics.cache import StatisticsCache
from evojax_merge.recipes.coefficients import DTYPES

if TYPE_CHECKING:  # evosax compiles a program when it is imported, and takes a second
    from evojax_merge.strategies.base import Strategy


def check_carriers(given: Any) -> dict[str, str]:
    """The models that single parts come from, by the names of the parts.

    Raises:
        ValueError: That is not what was given.
    """
    if not isinstance(given, dict | None):
        raise ValueError(
            f"model.carriers is {given!r}; give a mapping of parts to paths, e.g. "
            "{text_encoder: DIR}"
        )
    for part, path in (given or {}).items():
        if not isinstance(path, str) or not path:
            raise ValueError(
                f"model.carriers.{part} is {path!r}; give a directory, a file or a hub id"
            )
    return given or {}


@dataclasses.dataclass(kw_only=True)
class ModelChoice:
    """The checkpoints to merge.

    Attributes:
        base: The model that sources were fine-tuned from, which operators on task vectors need.
        sources: The directories or hub ids of the models that are merged.
        names: What tables and plots call the sources; by default, the last part of each path.
        dtype: The type of the merged parameters; by default, that of the base or the first source.
        tokenizer: The model whose tokenizer and configuration the merge carries: ``base``, or the
            name of a source. Without a base it is the first source.
        parts: The parts that are merged, where models consist of parts; by default, those that are
            models by themselves, which is the language model of a vision-language model.
        carrier: The model that all other parts come from: ``base``, or the name or the path of a
            source. By default, it is the first of base and sources that has them. The merge carries
            its tokenizer and configuration.
        carriers: The models that single parts come from, where it is not the carrier, by the names
            of the parts: directories, single files or hub ids.
    """

    base: str | None = None
    sources: list[str]
    names: list[str] | None = None
    dtype: str | None = None
    tokenizer: str = "base"
    parts: list[str] | None = None
    carrier: str | None = None
    carriers: Any = None  # a dict, to which Hydra adds no keys where it is typed

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

        if self.parts is not None and not (
            isinstance(self.parts, list)
            and self.parts
            and all(isinstance(one, str) and one for one in self.parts)
        ):
            raise ValueError(
                f"model.parts is {self.parts!r}; give a list of names of parts, e.g. "
                "[language_model], or null"
            )
        check_carriers(self.carriers)
        places = self._places
        if self.carrier is not None and self.carrier not in places:
            raise ValueError(
                f"model.carrier is {self.carrier!r}; give base, or one of {', '.join(names)} (a "
                "merge has the tokens of its carrier, which must be one of the merged models: list "
                "it in model.sources)"
            )
        if self.carrier is not None and self.tokenizer not in ("base", self.carrier):
            raise ValueError(
                f"model.tokenizer is {self.tokenizer!r} and model.carrier {self.carrier!r}; a "
                "merge has the tokenizer of its carrier, so leave model.tokenizer out"
            )

    @property
    def reference(self) -> str | int:
        """``base``, or the index of the source whose tokenizer and configuration are taken."""
        return self._places[self.tokenizer if self.carrier is None else self.carrier]

    @property
    def _places(self) -> dict[str, str | int]:
        """What may be called the reference -> ``base``, or the index of a source."""
        places: dict[str, str | int] = dict(
            zip(self.sources, range(len(self.sources)), strict=True)
        )
        places |= dict(zip(self.source_names, range(len(self.sources)), strict=True))
        return places | {"base": "base"} | ({} if self.base is None else {self.base: "base"})

    @property
    def source_names(self) -> list[str]:
        """A name for each source."""
        if self.names is not None:
            return self.names
        return [
            source.rstrip("/").split("/")[-1].removesuffix(".safetensors")
            for source in self.sources
        ]


@dataclasses.dataclass
class SearchBudget:
    """How much is evaluated.

    Attributes:
        evaluations: The number of candidates in all, rounded up to whole generations.
        item_evaluations: The number of measured items after which the search stops too; by
            default, there is no limit.
        chunk: How many candidates are on a device at a time; by default, as many as memory holds.
        curve: The number of points at which the best candidate so far is measured on the held-out
            split after the search, for the picture of a sweep; with 0 there are none.
        finalists: How many of the best candidates are scored again on the validation split, where
            there is one, to choose the winner.
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


@dataclasses.dataclass
class Baselines:
    """What the evolved merge is compared with.

    Attributes:
        sources: Whether every source, and the base, is compared.
        published: Whether plain average, task arithmetic and TIES are, at their published defaults.
        random_search: Whether the best of a random search is, with the same number of evaluations.
    """

    sources: bool = True
    published: bool = True
    random_search: bool = False


@dataclasses.dataclass
class RacingConfig:
    """The settings of `evojax_merge.savers.Racing`."""

    enabled: bool = False
    blocks: int = 8
    rungs: list[int] = dataclasses.field(default_factory=lambda: [1, 2, 4, 8])
    stopping: str = "halving"
    factor: float = 2.0
    parents: float = 0.25
    error: float = 0.05


@dataclasses.dataclass
class AnchorsConfig:
    """The settings of `evojax_merge.savers.Anchors`."""

    enabled: bool = False
    anchors: int = 20
    initial: int = 24
    refresh: int = 5
    check: int = 2
    dimensions: int = 2


@dataclasses.dataclass
class MinibatchConfig:
    """The settings of `evojax_merge.savers.Minibatch`.

    New runs have minibatches where they fit (conf/config.yaml). A run that was begun without them
    goes on without them.
    """

    enabled: Any = False
    size: int = 128
    informative: bool = True
    fresh: bool = True


@dataclasses.dataclass(frozen=True)
class Savers:
    """What saves evaluations.

    Attributes:
        memory: Whether results are remembered, so that nothing is measured twice.
        racing: The arguments of `evojax_merge.savers.Racing`; None for no races.
        anchors: The arguments of `evojax_merge.savers.Anchors`; None for no anchors.
        minibatch: The arguments of `evojax_merge.savers.Minibatch`; None for all items.
        automatic: The arguments of minibatches for searches that these fit (see
            `evojax_merge.savers.rules.fitting`); None for none.
    """

    memory: bool = True
    racing: dict[str, Any] | None = None
    anchors: dict[str, Any] | None = None
    minibatch: dict[str, Any] | None = None
    automatic: dict[str, Any] | None = None

    @property
    def partial(self) -> dict[str, dict[str, Any]]:
        """The savers that measure a candidate on some of the items, by name."""
        names = ("racing", "anchors", "minibatch")
        return {name: given for name in names if (given := getattr(self, name)) is not None}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that determines a run.

    Attributes:
        name: The name of the experiment, which names the run's folder.
        seed: The seed of the search and of the recipes' random masks.
        model: What is merged.
        operator: The operator that merges.
        operator_target: The factory of the operator, which makes it again.
        operator_arguments: The arguments of that factory.
        space: The factory of the space, see `evojax_merge.spaces.kind_of`.
        strategy: The factory of the strategy, see `evojax_merge.strategies.factory.make_strategy`.
        task: What is measured.
        mesh: The function that arranges the devices.
        budget: How much is evaluated.
        baselines: What the evolved merge is compared with.
        export: Whether the winner is written as a checkpoint.
        statistics_cache: Where operators' statistics are kept between runs, if anywhere.
        savers: What saves evaluations.
        described: Whether shapes are all that is wanted of the models, as where a search is planned
            and not run. Their weights need not be there.
        tracker: What keeps the numbers of many runs, an `evojax_merge.trackers.Tracker`, if any.
    """

    name: str
    seed: int
    model: ModelChoice
    operator: Operator
    operator_target: str
    operator_arguments: dict[str, Any]
    space: Any
    strategy: "Callable[..., Strategy]"
    task: Task
    mesh: Callable[..., Mesh]
    budget: SearchBudget
    baselines: Baselines
    export: bool = True
    statistics_cache: StatisticsCache | None = None
    savers: Savers = Savers()
    described: bool = False
    tracker: Any = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; use a whole number from 0 to 2**32 - 1")
