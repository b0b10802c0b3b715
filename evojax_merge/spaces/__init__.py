"""Spaces: what a genotype means."""

from evojax_merge.spaces.parameter import ParameterSpace

__all__ = ["ParameterSpace"]
