"""Merge operators: one method a file, each a factory that returns an `Operator`.

Every factory raises a ValueError for an argument of the wrong kind or out of its range.
"""

from evojax_merge.operators.adarank import adarank
from evojax_merge.operators.arcee_fusion import arcee_fusion
from evojax_merge.operators.base import Coefficient, Coefficients, Operator
from evojax_merge.operators.breadcrumbs import breadcrumbs, breadcrumbs_ties
from evojax_merge.operators.check import (
    Origin,
    check,
    check_coefficients,
    check_finite,
    check_sources,
    check_task_vectors,
    conflicts,
)
from evojax_merge.operators.choice import choice
from evojax_merge.operators.consensus_ta import consensus_ta, tall_mask
from evojax_merge.operators.dare import dare_linear, dare_ties
from evojax_merge.operators.della import della, della_linear
from evojax_merge.operators.evidence import Evidence, EvidenceRequest
from evojax_merge.operators.factories import FACTORIES, foreign_operators, make_operator
from evojax_merge.operators.fisher import fisher
from evojax_merge.operators.geometric_median import geometric_median
from evojax_merge.operators.iso_c import iso_c
from evojax_merge.operators.iso_cts import iso_cts
from evojax_merge.operators.karcher import karcher
from evojax_merge.operators.knots import knots
from evojax_merge.operators.larv import larv
from evojax_merge.operators.linear import linear
from evojax_merge.operators.magmax import magmax, magmin
from evojax_merge.operators.merge import (
    constant_coefficients,
    init_statistics,
    make_merge,
    merge,
)
from evojax_merge.operators.model_stock import model_stock
from evojax_merge.operators.multislerp import multislerp
from evojax_merge.operators.nearswap import nearswap
from evojax_merge.operators.nuslerp import nuslerp
from evojax_merge.operators.passthrough import passthrough
from evojax_merge.operators.published import published
from evojax_merge.operators.ram import ram, ramplus
from evojax_merge.operators.regmean import regmean
from evojax_merge.operators.sce import sce
from evojax_merge.operators.sign_only import sign_only
from evojax_merge.operators.slerp import slerp
from evojax_merge.operators.steps.cuts import snap
from evojax_merge.operators.svc import svc
from evojax_merge.operators.task_arithmetic import task_arithmetic
from evojax_merge.operators.task_vectors import task_vectors
from evojax_merge.operators.ties import ties
from evojax_merge.operators.tsv_merge import tsv_merge
from evojax_merge.operators.wudi import wudi

__all__ = [
    "FACTORIES",
    "Coefficient",
    "Coefficients",
    "Evidence",
    "EvidenceRequest",
    "Operator",
    "Origin",
    "adarank",
    "arcee_fusion",
    "breadcrumbs",
    "breadcrumbs_ties",
    "check",
    "check_coefficients",
    "check_finite",
    "check_sources",
    "check_task_vectors",
    "choice",
    "conflicts",
    "consensus_ta",
    "constant_coefficients",
    "dare_linear",
    "dare_ties",
    "della",
    "della_linear",
    "fisher",
    "foreign_operators",
    "geometric_median",
    "init_statistics",
    "iso_c",
    "iso_cts",
    "karcher",
    "knots",
    "larv",
    "linear",
    "magmax",
    "magmin",
    "make_merge",
    "make_operator",
    "merge",
    "model_stock",
    "multislerp",
    "nearswap",
    "nuslerp",
    "passthrough",
    "published",
    "ram",
    "ramplus",
    "regmean",
    "sce",
    "sign_only",
    "slerp",
    "snap",
    "svc",
    "tall_mask",
    "task_arithmetic",
    "task_vectors",
    "ties",
    "tsv_merge",
    "wudi",
]
