"""Rules that choose which items are measured for which candidates, and judge the others."""

from evojax_merge.savers.anchors import Anchors
from evojax_merge.savers.base import Measure, Rule, Whole
from evojax_merge.savers.minibatch import Minibatch
from evojax_merge.savers.racing import Racing
from evojax_merge.savers.rules import fitting, make_rule
from evojax_merge.savers.score_memory import Memory
from evojax_merge.savers.scorer import Scorer

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
