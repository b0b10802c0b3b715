"""DELLA-Merging (Deep et al., 2024), https://arxiv.org/abs/2406.11617"""

from evojax_merge.operators.base import Operator
from evojax_merge.operators.steps.trimming import Rescale
from evojax_merge.operators.task_vectors import task_vectors


def della(normalize: bool = True, rescale: Rescale | None = "l1", lam: float = 1.0) -> Operator:
    """Drop elements at random, small ones more often, elect a sign, merge those that agree.

    Coefficients of each source: ``weight``, ``density`` (mean probability of being kept), both
    usually in [0, 1], start 0.5, and ``epsilon`` (the probability runs from density - epsilon for
    the smallest of a row to density + epsilon), usually in [0, 0.3], start 0.15.

    References:
        Deep et al., DELLA-Merging: reducing interference in model merging through magnitude-based
        sampling, arXiv 2406.11617: MAGPRUNE, then elect and fuse. Departures: epsilon is half the
        paper's window, as in mergekit; the l1 norm is restored in expectation, so that no
        candidate sums over a tensor; ``inverse`` is the paper's own 1 / (1 - p).

    Args:
        normalize: Divide by the sum of the weights that agree.
        rescale: Scale of what is kept; ``inverse``: of each element by its own probability.
        lam: Scale of the merged task vector, lambda in the paper.
    """
    return task_vectors("rank", "sum", normalize, rescale, lam, name="della")


def della_linear(
    normalize: bool = False, rescale: Rescale | None = "l1", lam: float = 1.0
) -> Operator:
    """The same without the election of signs: a plain weighted sum."""
    return task_vectors("rank", "none", normalize, rescale, lam, name="della_linear")
