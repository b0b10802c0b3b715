"""Merges at their published defaults, which an evolved recipe is compared with."""

from typing import NamedTuple

from evojax_merge.operators.base import Operator
from evojax_merge.operators.linear import linear
from evojax_merge.operators.task_arithmetic import task_arithmetic
from evojax_merge.operators.ties import ties


class Published(NamedTuple):
    """An operator and one value per coefficient, for every source and leaf."""

    operator: Operator
    values: dict[str, float]


def published() -> dict[str, Published]:
    """The merges by name, with the values that the papers recommend when nothing can be tuned.

    - ``average``: equal weights, the uniform soup (Wortsman et al., 2203.05482).
    - ``task_arithmetic``: lambda 0.4 without a validation set (Yadav et al., 2306.01708, section
      6, after Ilharco et al., 2212.04089).
    - ``ties``: density 0.2 and lambda 1 (Yadav et al., 2306.01708, section 6).
    """
    return {
        "average": Published(linear(normalize=True), {"weight": 1.0}),
        "task_arithmetic": Published(task_arithmetic(lam=0.4), {"weight": 1.0}),
        "ties": Published(ties(lam=1.0), {"weight": 1.0, "density": 0.2}),
    }
