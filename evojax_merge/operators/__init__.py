"""Merge operators: one paper a file, each a factory that returns an `Operator`."""

from evojax_merge.operators.base import Coefficient, Coefficients, Operator
from evojax_merge.operators.check import check, check_coefficients, check_sources
from evojax_merge.operators.dare import dare_linear, dare_ties
from evojax_merge.operators.linear import linear
from evojax_merge.operators.magnitude import snap
from evojax_merge.operators.merge import (
    constant_coefficients,
    init_statistics,
    make_merge,
    merge,
)
from evojax_merge.operators.published import published
from evojax_merge.operators.slerp import slerp
from evojax_merge.operators.task_arithmetic import task_arithmetic
from evojax_merge.operators.ties import ties

__all__ = [
    "Coefficient",
    "Coefficients",
    "Operator",
    "check",
    "check_coefficients",
    "check_sources",
    "constant_coefficients",
    "dare_linear",
    "dare_ties",
    "init_statistics",
    "linear",
    "make_merge",
    "merge",
    "published",
    "slerp",
    "snap",
    "task_arithmetic",
    "ties",
]
