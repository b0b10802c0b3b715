"""Exchange with mergekit: its YAML is run here, and recipes are written for it."""

from evojax_merge.exchange.application import apply_mergekit, apply_plan
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.exchange.plan import Plan
from evojax_merge.exchange.planner import plan_merge
from evojax_merge.exchange.recipe_writer import to_mergekit
from evojax_merge.exchange.schema import (
    Configuration,
    is_mergekit,
    load_configuration,
    parse_configuration,
)

__all__ = [
    "Configuration",
    "ExchangeError",
    "Plan",
    "apply_mergekit",
    "apply_plan",
    "is_mergekit",
    "load_configuration",
    "parse_configuration",
    "plan_merge",
    "to_mergekit",
]
