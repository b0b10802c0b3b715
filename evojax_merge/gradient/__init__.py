"""Searches by gradient, for coefficients that make right answers likely or predictions certain."""

from evojax_merge.gradient.descent import GRADIENT_COST, GradientDescent
from evojax_merge.gradient.entropy import PredictionEntropy
from evojax_merge.gradient.likelihood import ReferenceLikelihood
from evojax_merge.gradient.memetic import Memetic
from evojax_merge.gradient.objective import Descendable, Objective, Slope

__all__ = [
    "GRADIENT_COST",
    "Descendable",
    "GradientDescent",
    "Memetic",
    "Objective",
    "PredictionEntropy",
    "ReferenceLikelihood",
    "Slope",
]
