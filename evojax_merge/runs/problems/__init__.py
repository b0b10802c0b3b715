"""What a search is about: how genotypes become models, and what they are compared with."""

from evojax_merge.runs.problems.base import Found, Problem
from evojax_merge.runs.problems.dataflow import DataflowProblem
from evojax_merge.runs.problems.joint import JointProblem
from evojax_merge.runs.problems.parameter import ParameterProblem
from evojax_merge.runs.problems.weights import WeightsProblem

__all__ = [
    "DataflowProblem",
    "Found",
    "JointProblem",
    "ParameterProblem",
    "Problem",
    "WeightsProblem",
]
