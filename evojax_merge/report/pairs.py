"""Differences between two methods that were measured on the same items, with 95 % intervals.

Two intervals of scores may overlap although one method is better on nearly every item on which they
differ. What tells is the mean of the differences item by item.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from rich.table import Table

from evojax_merge.documents.terminal import cell
from evojax_merge.fitness.base import FRACTION, Measure
from evojax_merge.params.types import Float
from evojax_merge.report.intervals import paired_interval, weighted_interval
from evojax_merge.report.results import Result

_FLIPS = 9_999
"""How many times signs are flipped at random, where there are too many ways to try all."""

_AT_ONCE = 2**22
"""How many signs are held at a time."""

MCNEMAR, SIGNS = "exact McNemar test", "permutation test of signs"


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much better one method is than another, on the same items.

    Attributes:
        name: The method.
        against: The method that it is compared with.
        split: The split that the items are of.
        score: The mean over items of its result less the other's; with several tasks, the weighted
            sum of such means.
        low: The lower end of the 95 % interval of the difference.
        high: The upper end of that interval.
        p_value: How likely so great a difference, of either sign, is between methods that are
            equally good; nan where nothing is sampled or an item has no finite result.
        items: The number of items, of all tasks together.
        better: On how many of them the method is better.
        worse: On how many of them it is worse.
        measure: What the numbers are.
        test: What the p-value is of.
    """

    name: str
    against: str
    split: str
    score: float
    low: float
    high: float
    p_value: float
    items: int
    better: int
    worse: int
    measure: Measure
    test: str


def difference(
    result: Result,
    items: Float[np.ndarray, " items"],
    against: Result,
    against_items: Float[np.ndarray, " others"],
) -> Difference:
    """Compare two methods on the items that both were measured on.

    The p-value is that of the exact test of McNemar (1947, by the binomial distribution) where
    every result is 0 or 1. Otherwise signs of the items' differences are flipped, all ways or
    9,999 times at random with a fixed seed (Fisher, The Design of Experiments, 1935, § 21). The
    interval is that of `paired_interval`, and of several tasks that of `weighted_interval`.

    Args:
        result: The score of the method.
        items: Its results on every item, those of several tasks one after another.
        against: The score of the method that it is compared with.
        against_items: The results of that one, on the same items in the same order.

    Raises:
        ValueError: They were measured on other items, or by another measure.
    """
    weights = {name: one.weight for name, one in result.tasks.items()}
    alike = np.shape(items) == np.shape(against_items) and result.split == against.split
    if not alike or weights != {name: one.weight for name, one in against.tasks.items()}:
        raise ValueError(
            f"{result.name} and {against.name}: were measured on other items, so that there are no "
            "pairs; measure both by one task on one split"
        )
    parts = list(_parts(result, np.asarray(items), np.asarray(against_items)))
    apart = np.concatenate([one.apart for one in parts])
    score = sum(one.weight * one.mean for one in parts)
    ends = [one.interval() for one in parts]
    low, high = ends[0]
    if result.tasks:
        weight, mean = [one.weight for one in parts], [one.mean for one in parts]
        low, high = weighted_interval(weight, mean, ends)
    test, p_value = "", math.nan
    if not math.isfinite(score):
        low = high = math.nan
    elif all(one.sampled for one in parts if one.weight):
        exact = not result.tasks and np.isin([items, against_items], (0.0, 1.0)).all()
        test = MCNEMAR if exact else SIGNS
        shares = [one.weight * one.apart / len(one.apart) for one in parts]
        p_value = mcnemar(apart) if exact else flipped_signs(np.concatenate(shares))
    return Difference(
        result.name,
        against.name,
        result.split,
        score,
        low,
        high,
        p_value,
        len(apart),
        int((apart > 0).sum()),
        int((apart < 0).sum()),
        result.measure,
        test,
    )


class Measured(Protocol):
    """What was measured of a method, as `evojax_merge.evaluate` returns it."""

    @property
    def result(self) -> Result:
        """The score."""
        ...

    @property
    def items(self) -> np.ndarray:
        """The result of every item."""
        ...


def compare(measured: Sequence[Measured]) -> list[Difference]:
    """Compare methods with the first of them (see `difference`).

    The p-values are those of single comparisons. Of many, a few are small by chance.

    Raises:
        ValueError: They were measured on other items, or by another measure.
    """
    if not measured:
        return []
    first, *others = measured
    return [difference(one.result, one.items, first.result, first.items) for one in others]


def mcnemar(differences: Float[np.ndarray, " items"]) -> float:
    """The p-value of the exact test of McNemar, of differences between results of 0 and 1."""
    from scipy import stats  # two seconds of import

    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    if not better + worse:
        return 1.0
    return float(stats.binomtest(better, better + worse).pvalue)


def flipped_signs(shares: Float[np.ndarray, " items"]) -> float:
    """The p-value of a sum of shares whose signs are random where methods are equally good.

    Args:
        shares: What each item has in the difference between the methods.
    """
    from scipy import stats

    signed = shares[shares != 0]
    if signed.size < 2:  # both signs are as far from 0, and scipy takes no less than two
        return 1.0
    test = stats.permutation_test(
        (signed,),
        np.sum,
        permutation_type="samples",
        n_resamples=_FLIPS,
        batch=max(1, _AT_ONCE // signed.size),
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


class _Part(NamedTuple):
    """The results of two methods on the items of one task."""

    weight: float
    mine: np.ndarray
    theirs: np.ndarray
    sampled: bool

    @property
    def apart(self) -> np.ndarray:
        return self.mine - self.theirs

    @property
    def mean(self) -> float:
        return float(np.mean(self.apart))

    def interval(self) -> tuple[float, float]:
        return paired_interval(self.mine, self.theirs) if self.sampled else (self.mean, self.mean)


def _parts(result: Result, mine: np.ndarray, theirs: np.ndarray) -> Iterator[_Part]:
    mine, theirs = mine.astype(np.float64), theirs.astype(np.float64)
    if not result.tasks:
        yield _Part(1.0, mine, theirs, result.measure.sampled)
    begin = 0
    for one in result.tasks.values():
        own = slice(begin, begin + one.items)
        yield _Part(one.weight, mine[own], theirs[own], one.measure.sampled)
        begin += one.items


def differences_table(differences: Sequence[Difference]) -> Table:
    """A table of differences from one method, each with its 95 % interval."""
    first = differences[0]
    measure = first.measure
    unit = "percentage points" if measure.unit == FRACTION else measure.unit
    title = f"difference from {first.against}, item by item, {unit}"
    if tests := list(dict.fromkeys(one.test for one in differences if one.test)):
        title += f"; p of the {' or of the '.join(tests)}"
    table = Table(title=cell(title), title_justify="left")
    table.add_column("method", overflow="fold")
    for head in ("difference", "95 % interval", "p", "better on", "worse on"):
        table.add_column(cell(head), justify="right", overflow="fold")
    for one in differences:
        ends = (one.low, one.high)
        shown = " – ".join(signed(measure, end) for end in ends) if one.low < one.high else "–"
        texts = (
            signed(measure, one.score),
            shown,
            p_text(one.p_value),
            str(one.better),
            str(one.worse),
        )
        table.add_row(cell(one.name), *map(cell, texts))
    return table


def signed(measure: Measure, value: float) -> str:
    """A difference in the unit that people read, with its sign; a dash where there is none."""
    text = measure.text(value)
    return f"+{text}" if value > 0 else text


def p_text(p_value: float) -> str:
    """A p-value in two digits; a dash where there is none."""
    if not math.isfinite(p_value):
        return "–"
    return f"{p_value:.2g}" if p_value >= 0.0001 else "< 0.0001"


def save_differences(differences: Sequence[Difference], path: Path) -> None:
    """Write a JSON list of differences; what is not finite becomes null."""
    rows = []
    for one in differences:
        fields = dataclasses.asdict(one) | {"measure": one.measure.name, "unit": one.measure.unit}
        rows.append(
            {
                key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in fields.items()
            }
        )
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
