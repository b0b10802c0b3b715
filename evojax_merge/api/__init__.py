"""The package's functions for Python, which the command line uses too."""

from evojax_merge.api.evaluating import Evaluation, draw, evaluate
from evojax_merge.api.evolving import dry_run, evolve, resume
from evojax_merge.api.merging import apply, foreign_operators, merge, route
from evojax_merge.api.run_directory import CONFIG_FILE, OVERRIDES_FILE, keep_overrides, started_from
from evojax_merge.checkpoints import export, load
from evojax_merge.exchange import apply_mergekit, to_mergekit

__all__ = [
    "CONFIG_FILE",
    "OVERRIDES_FILE",
    "Evaluation",
    "apply",
    "apply_mergekit",
    "draw",
    "dry_run",
    "evaluate",
    "evolve",
    "export",
    "foreign_operators",
    "keep_overrides",
    "load",
    "merge",
    "resume",
    "route",
    "started_from",
    "to_mergekit",
]
