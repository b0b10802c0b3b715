"""Search by gradient, where what is sought has one: coefficients that make predictions certain."""

from evojax_merge.gradient.adamerging import AdaMerging
from evojax_merge.gradient.entropy import PredictionEntropy

__all__ = ["AdaMerging", "PredictionEntropy"]
