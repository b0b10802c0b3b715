"""The structured root configuration."""

import dataclasses
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from evojax_merge.config.experiment import (
    AnchorsConfig,
    Baselines,
    MinibatchConfig,
    ModelChoice,
    RacingConfig,
    SearchBudget,
)
from evojax_merge.hosts import DistributedConfig
from evojax_merge.measuring import compilations
from evojax_merge.operators.statistics.cache import LIMIT_GB


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
class CompilationCacheConfig:
    """The settings of a `evojax_merge.measuring.compilations.CompilationCache`."""

    directory: str | None = None
    limit_gb: float = compilations.LIMIT_GB


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
    tracker: Any = None  # a run that was begun without one has none
    search: SearchBudget = dataclasses.field(default_factory=SearchBudget)
    savers: SaversConfig = dataclasses.field(default_factory=SaversConfig)
    baselines: Baselines = dataclasses.field(default_factory=Baselines)
    export: bool = True
    statistics_cache: StatisticsCacheConfig = dataclasses.field(
        default_factory=StatisticsCacheConfig
    )
    compilation_cache: CompilationCacheConfig | None = None
    distributed: DistributedConfig = dataclasses.field(default_factory=DistributedConfig)
    working_directory: str | None = None


ConfigStore.instance().store(name="config_schema", node=Config)
