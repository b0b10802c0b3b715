"""Remarks on an evolved merge that is no better than a model it comes from, or than chance."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from evojax_merge.params.types import Float
from evojax_merge.report.pairs import Difference, difference, signed
from evojax_merge.report.results import Result

_LONGER = "a longer search (evojax-merge resume RUN search.evaluations=N)"
_REMEDY = {
    True: f"{_LONGER} or another strategy may find what chance does not; that a start is good, "
    "or that few genes matter, makes random search hard to beat",
    False: f"{_LONGER}, another operator or space, or items that tell candidates apart better may "
    "help; where one source is best at all of the items, there may be nothing to gain from others",
}
"""What may help, where the other one is a random search and where it is a model."""


def no_better(
    results: Sequence[Result],
    items: Mapping[str, Float[np.ndarray, " items"]],
    winner: str,
    chance: Sequence[str] = (),
) -> Iterator[str]:
    """A line for the best other model, and for a random search, that the winner does not beat.

    It does not if the 95 % interval of the mean difference, item by item, holds 0 or lies below.

    Args:
        results: The scores of all methods on one split.
        items: The results of each on every item, by name.
        winner: The name of the winner.
        chance: The names of random searches.
    """
    scored = [one for one in results if one.name in items and np.isfinite(one.score)]
    own = next((one for one in scored if one.name == winner), None)
    others = [one for one in scored if one.name != winner]
    if own is None:
        return
    for random in (False, True):
        kind = [one for one in others if (one.name in chance) == random]
        if not kind:
            continue
        best = max(kind, key=lambda one: one.score)
        try:
            apart = difference(own, items[winner], best, items[best.name])
        except ValueError:  # of items that each model has cut for itself
            continue
        if not apart.low > 0:
            yield f"{_compared(own, best, apart)}; {_REMEDY[random]}"


def _compared(own: Result, best: Result, apart: Difference) -> str:
    measure = own.measure
    scores = f"{best.name} {measure.text(best.score)}"
    if apart.high < 0 or not measure.sampled:
        relation = "worse than" if apart.score < 0 else "no better than"
        line = f"evolved {measure.text(own.score)} is {relation} {scores}"
    else:
        line = (
            f"evolved {measure.text(own.score)} is not shown to be better than {scores} by these "
            f"{own.items} items"
        )
    line += f" (difference {signed(measure, apart.score)}"
    if apart.low < apart.high:
        line += f", 95 % interval {signed(measure, apart.low)} to {signed(measure, apart.high)}"
    return f"{line})"
