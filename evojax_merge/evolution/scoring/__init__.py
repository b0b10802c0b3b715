"""Which items of a task are measured for which candidates, and what that says of the others."""

from evojax_merge.evolution.scoring.anchors import Anchors
from evojax_merge.evolution.scoring.base import Measure, Rule, Whole
from evojax_merge.evolution.scoring.choice import fitting, make_rule
from evojax_merge.evolution.scoring.memory import Memory
from evojax_merge.evolution.scoring.minibatch import Minibatch
from evojax_merge.evolution.scoring.racing import Racing
from evojax_merge.evolution.scoring.scorer import Scorer

__all__ = [
    "Anchors",
    "Measure",
    "Memory",
    "Minibatch",
    "Racing",
    "Rule",
    "Scorer",
    "Whole",
    "fitting",
    "make_rule",
]
