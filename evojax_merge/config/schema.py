"""The structured root configuration."""

import dataclasses
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from evojax_merge.config.experiment import Baselines, ModelChoice, SearchBudget
from evojax_merge.operators.statistics.cache import LIMIT_GB


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


@dataclasses.dataclass
class SaversConfig:
    """The settings of `evojax_merge.config.experiment.Savers`."""

    memory: bool = True
    racing: RacingConfig = dataclasses.field(default_factory=RacingConfig)
    anchors: AnchorsConfig = dataclasses.field(default_factory=AnchorsConfig)
    minibatch: MinibatchConfig = dataclasses.field(default_factory=MinibatchConfig)


@dataclasses.dataclass
class StatisticsCacheConfig:
    """The settings of a `evojax_merge.operators.statistics.cache.StatisticsCache`."""

    directory: str | None = None
    limit_gb: float = LIMIT_GB


@dataclasses.dataclass
class Config:
    """The root of ``conf/config.yaml``; groups are described in their own files."""

    name: str = "evolve"
    seed: int = 0
    model: ModelChoice = MISSING
    operator: Any = MISSING
    space: Any = MISSING
    strategy: Any = MISSING
    fitness: Any = MISSING
    mesh: Any = MISSING
    search: SearchBudget = dataclasses.field(default_factory=SearchBudget)
    savers: SaversConfig = dataclasses.field(default_factory=SaversConfig)
    baselines: Baselines = dataclasses.field(default_factory=Baselines)
    export: bool = True
    statistics_cache: StatisticsCacheConfig = dataclasses.field(
        default_factory=StatisticsCacheConfig
    )
    working_directory: str | None = None


ConfigStore.instance().store(name="config_schema", node=Config)
