"""Search strategies: what proposes the next genotypes."""

from evojax_merge.strategies.adapter import EvosaxStrategy, State
from evojax_merge.strategies.base import Strategy, default_population_size
from evojax_merge.strategies.cma_es import CMAES
from evojax_merge.strategies.ma_es import LMMAES, MAES
from evojax_merge.strategies.surrogate import Surrogate
from evojax_merge.strategies.xnes import XNES

__all__ = [
    "CMAES",
    "LMMAES",
    "MAES",
    "XNES",
    "EvosaxStrategy",
    "State",
    "Strategy",
    "Surrogate",
    "default_population_size",
]
