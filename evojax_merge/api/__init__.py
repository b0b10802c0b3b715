"""The package's functions for Python, which the command line uses too."""

from evojax_merge.api.evaluating import Evaluation, compare, draw, evaluate
from evojax_merge.api.evolving import dry_run, evolve, resume
from evojax_merge.api.merging import (
    apply,
    apply_mergekit,
    export,
    foreign_operators,
    merge,
    route,
)
from evojax_merge.api.publishing import push
from evojax_merge.api.run_directory import keep_overrides, started_from
from evojax_merge.checkpoints import Model, load
from evojax_merge.exchange import to_mergekit
from evojax_merge.recipes.coefficients import Recipe

__all__ = [
    "Evaluation",
    "Model",
    "Recipe",
    "apply",
    "apply_mergekit",
    "compare",
    "draw",
    "dry_run",
    "evaluate",
    "evolve",
    "export",
    "foreign_operators",
    "keep_overrides",
    "load",
    "merge",
    "push",
    "resume",
    "route",
    "started_from",
    "to_mergekit",
]
