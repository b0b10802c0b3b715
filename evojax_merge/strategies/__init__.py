"""Search strategies, which propose the next genotypes."""

from evojax_merge.strategies.adapter import EvosaxStrategy, State
from evojax_merge.strategies.auto import Auto
from evojax_merge.strategies.base import Strategy, default_population_size
from evojax_merge.strategies.catcma import CatCMA
from evojax_merge.strategies.cma_es import CMAES
from evojax_merge.strategies.coordinate import CoordinateSearch
from evojax_merge.strategies.cycle_qd import CycleQD
from evojax_merge.strategies.dominated_novelty import DominatedNoveltySearch
from evojax_merge.strategies.elites import DescriptorRangeWarning
from evojax_merge.strategies.factory import make_strategy
from evojax_merge.strategies.grid import GridSearch
from evojax_merge.strategies.m2n2 import M2N2
from evojax_merge.strategies.ma_es import LMMAES, MAES
from evojax_merge.strategies.map_elites import MAPElites
from evojax_merge.strategies.multi_objective import MultiObjectiveStrategy
from evojax_merge.strategies.nsga2 import NSGA2
from evojax_merge.strategies.nsga3 import NSGA3
from evojax_merge.strategies.optuna_cma import OptunaCMAES
from evojax_merge.strategies.setting import Setting
from evojax_merge.strategies.shaping import fitness_shaping
from evojax_merge.strategies.surrogate import Surrogate
from evojax_merge.strategies.xnes import XNES

__all__ = [
    "CMAES",
    "LMMAES",
    "M2N2",
    "MAES",
    "NSGA2",
    "NSGA3",
    "XNES",
    "Auto",
    "CatCMA",
    "CoordinateSearch",
    "CycleQD",
    "DescriptorRangeWarning",
    "DominatedNoveltySearch",
    "EvosaxStrategy",
    "GridSearch",
    "MAPElites",
    "MultiObjectiveStrategy",
    "OptunaCMAES",
    "Setting",
    "State",
    "Strategy",
    "Surrogate",
    "default_population_size",
    "fitness_shaping",
    "make_strategy",
]
