"""What the runs of the comparison left, as a row for each experiment and operator."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np

from evojax_merge.report.items import load_items
from evojax_merge.report.pairs import Difference, difference
from evojax_merge.report.results import Result, load_results
from evojax_merge.runs.problem import EVOLVED, RANDOM
from experiments.operators.methods import methods

EXPERIMENTS = ("digits_clip", "vision", "quickstart")
UNTUNED, KEPT = "untuned", "kept"
OLDEST = "task_arithmetic"
"""The operator whose evolved merges are compared with every untuned method."""

VALIDATION, TEST = "validation", "test"

Row = Mapping[str, Any]
"""The scores of one operator in one experiment, and its differences from others."""


class Measured(NamedTuple):
    """The scores of one method on one split.

    Attributes:
        results: One score for each seed; a single one where nothing was searched.
        items: The results of every item, an array for each score.
    """

    results: list[Result]
    items: list[np.ndarray]

    @property
    def score(self) -> float:
        """The mean over seeds."""
        return mean(one.score for one in self.results)

    def less(self, other: "Measured") -> Difference:
        """How much better it is than another method, item by item, both as means over seeds."""
        mine, others = np.mean(self.items, axis=0), np.mean(other.items, axis=0)
        return difference(self.results[0], mine, other.results[0], others)

    def where(self, chosen: list[bool], other: "Measured") -> "Measured":
        """The scores of the chosen seeds, and another method's one score in place of the rest."""
        return Measured(
            [
                one if is_ else other.results[0]
                for one, is_ in zip(self.results, chosen, strict=True)
            ],
            [one if is_ else other.items[0] for one, is_ in zip(self.items, chosen, strict=True)],
        )


def collect(out: Path) -> Iterator[Row]:
    """A row for each experiment and operator that was measured."""
    for experiment in EXPERIMENTS:
        for row in _rows(out / experiment):
            yield {"experiment": experiment, **row}


def folder_of(out: Path, experiment: str, name: str, which: int | str) -> Path:
    """Where the run of a seed, or the untuned merge, is kept."""
    return out / experiment / f"{name}_{which}"


def _rows(folder: Path) -> Iterator[Row]:
    """The rows of one experiment; the best untuned method is chosen by the validation items."""

    def found(name: str, way: str, split: str = TEST) -> Measured:
        return _read(folder, name, way, split)

    names = [name for name in methods(2) if found(name, UNTUNED).results]
    if not names:
        return
    best = max(names, key=lambda name: found(name, UNTUNED, VALIDATION).score)
    reference, oldest = found(best, UNTUNED), found(OLDEST, EVOLVED)
    for name in names:
        start, validated = found(name, UNTUNED), found(name, UNTUNED, VALIDATION)
        row: dict[str, Any] = {
            "operator": name,
            UNTUNED: _described(start, validated),
            "best_untuned": best,
        }
        if oldest.results:
            row["lead"] = _gain(oldest.less(start))
        evolved, drawn = found(name, EVOLVED), found(name, RANDOM)
        if evolved.results:
            own = found(name, EVOLVED, VALIDATION)
            better = [one.score >= validated.score for one in own.results]
            kept = evolved.where(better, start)
            row |= {
                EVOLVED: _described(evolved, own),
                RANDOM: _described(drawn),
                KEPT: _described(kept),
                "gain": _gain(evolved.less(reference)),
                "gain_kept": _gain(kept.less(reference)),
                "gain_over_start": _gain(evolved.less(start)),
                "gain_over_random": _gain(evolved.less(drawn)),
            }
        yield row


def _read(folder: Path, name: str, way: str, split: str) -> Measured:
    """What there is of a method on a split, of all seeds."""
    seeds = [UNTUNED] if way == UNTUNED else sorted(_seeds(folder, name))
    found = Measured([], [])
    for seed in seeds:
        own = folder / f"{name}_{seed}"
        if (own / "results.json").is_file():
            (result,) = (
                one
                for one in load_results(own / "results.json")
                if (one.name, one.split) == (way, split)
            )
            found.results.append(result)
            found.items.append(load_items(own / "items.json")[split][way])
    return found


def _seeds(folder: Path, name: str) -> Iterator[int]:
    """The seeds of an operator's runs."""
    for own in folder.glob(f"{name}_*"):
        seed = own.name.removeprefix(f"{name}_")
        if seed.isdecimal():
            yield int(seed)


def _described(measured: Measured, validated: Measured | None = None) -> dict[str, Any]:
    """The scores as they are written, with the interval of one run, since seeds share the items."""
    scores = {} if validated is None else {VALIDATION: [one.score for one in validated.results]}
    return scores | {
        "scores": [one.score for one in measured.results],
        "mean": measured.score,
        "low": mean(one.low for one in measured.results),
        "high": mean(one.high for one in measured.results),
        "items": measured.results[0].items,
        "evaluations": measured.results[0].evaluations,
    }


def _gain(found: Difference) -> dict[str, float]:
    """A difference as it is written."""
    return {"mean": found.score, "low": found.low, "high": found.high, "p_value": found.p_value}
