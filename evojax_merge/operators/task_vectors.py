"""Task-vector merges (Ilharco et al., 2022), https://arxiv.org/abs/2212.04089: trim, elect, add.

Nearly every method on task vectors is a choice at each of four steps (mergekit's "generalised task
arithmetic"). `task_vectors` makes the operator of any choice; the named methods are settings of it:

| method | trim | consensus | normalize | rescale |
|---|---|---|---|---|
| task_arithmetic | none | none | no | |
| ties | magnitude | sum | yes | |
| dare_linear | random | none | no | inverse |
| dare_ties | random | sum | no | inverse |
| breadcrumbs | outliers | none | no | |
| breadcrumbs_ties | outliers | sum | no | |
| della | rank | sum | yes | l1 |
| della_linear | rank | none | no | l1 |
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from evojax_merge.documents.arguments import check_option
from evojax_merge.operators.base import Operator
from evojax_merge.operators.breadcrumbs import without_outliers
from evojax_merge.operators.dare import at_random
from evojax_merge.operators.della import by_rank
from evojax_merge.operators.steps.task_vectors import Consensus, trim_elect_add
from evojax_merge.operators.steps.trimming import Rescale, Trimming, everything
from evojax_merge.operators.task_arithmetic import sum_of_task_vectors
from evojax_merge.operators.ties import by_magnitude

Trim = Literal["none", "magnitude", "outliers", "random", "rank"]

TRIMMINGS: Mapping[str, Callable[[Rescale | None], Trimming]] = MappingProxyType(
    {
        "none": everything,
        "magnitude": by_magnitude,
        "outliers": without_outliers,
        "random": at_random,
        "rank": by_rank,
    }
)
"""The trimmings that ``trim`` of `task_vectors` names."""


def task_vectors(
    trim: Trim = "none",
    consensus: Consensus = "none",
    normalize: bool = False,
    rescale: Rescale | None = None,
    lam: float = 1.0,
    name: str = "task_vectors",
) -> Operator:
    """base + lam x merge of weight x trim(source - base).

    The coefficient ``weight`` of each source is any number, usually in [0, 1], and starts at 0.5.
    With a trim each source has a ``density`` in [0, 1], in steps of 1/1000 but for random masks,
    which starts at 0.5. With ``outliers`` it has a ``gamma`` in [0, 1], in the same steps, which is
    usually up to 0.05 and starts at 0.01. With ``rank`` it has an ``epsilon`` in [0, 0.5], which is
    usually up to 0.3 and starts at 0.15.

    References:
        Ilharco et al., arXiv 2212.04089 (sum); Yadav et al., arXiv 2306.01708 (trim, elect,
        disjoint mean); Yu et al., arXiv 2311.03099 (random, inverse); Davari and Belilovsky, arXiv
        2312.06795 (outliers); Deep et al., arXiv 2406.11617 (rank).

    Args:
        trim: Which elements of a task vector are kept: all (``none``), the largest (``magnitude``),
            the largest but for outliers (``outliers``), any with the same probability (``random``)
            or the larger ones with the greater probability (``rank``). Each trim brings its own
            coefficients.
        consensus: Add only what has the elected sign: that of the weighted ``sum``, or the one that
            more sources have (``count``). A tie elects the positive sign. With ``none`` everything
            is added.
        normalize: Divide by the sum of the weights that took part, by 1 where that is below 1e-8.
        rescale: What a trimmed task vector is scaled by, one of
            `evojax_merge.operators.steps.trimming.Rescale`.
        lam: The scale of the merged task vector, lambda in the papers.
        name: The operator's name, which messages give.

    Raises:
        ValueError: A setting has a value that it cannot have, or the trim cannot be rescaled so.
    """
    check_option(f"{name}: trim", trim, tuple(TRIMMINGS))
    if trim == consensus == "none":
        return sum_of_task_vectors(name=name, normalize=normalize, rescale=rescale, lam=lam)
    return trim_elect_add(
        TRIMMINGS[trim],
        name=name,
        consensus=consensus,
        normalize=normalize,
        rescale=rescale,
        lam=lam,
    )
