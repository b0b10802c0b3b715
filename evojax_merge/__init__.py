"""Evolutionary model merging in JAX."""

from evojax_merge.api import Evaluation, evaluate, evolve, export, load, merge, resume

__all__ = ["Evaluation", "evaluate", "evolve", "export", "load", "merge", "resume"]
