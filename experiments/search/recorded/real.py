"""An experiment whose candidates are measured on any of its items."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from evojax_merge.config import build, compose
from evojax_merge.fitness.several import parts_of
from evojax_merge.params.types import Float, Int
from evojax_merge.runs.preparation import set_up

MOST = 512
"""The most items that are taken of the search split, and of the held-out one."""


class Group(NamedTuple):
    """Items of one task on one split.

    Attributes:
        split: The split.
        rows: Their places in it.
    """

    split: str
    rows: Int[np.ndarray, " rows"]


class Real:
    """An experiment's models, which are merged and measured.

    Its items are those of the search split, then those of the furthest held-out split, at most
    `MOST` of each, evenly spaced and as many of each task.

    Args:
        overrides: What composes the experiment.

    Raises:
        ValueError: The experiment has several stages or no held-out items, its results are not
            right or wrong, or its tasks do not count alike.

    Attributes:
        space: The space that is searched.
        searched: How many items drive a search; the others are held out.
        items: The number of items.
        tasks: The number of tasks.
    """

    def __init__(self, overrides: tuple[str, ...]) -> None:
        setup = set_up(build(compose(list(overrides))))
        if len(setup.stages) != 1:
            raise ValueError(f"{' '.join(overrides)}: has several searches; record one of them")
        held_out = [split for split in ("test", "validation") if split in setup.bound]
        if not held_out:
            raise ValueError(f"{' '.join(overrides)}: has no held-out items; give fitness.test")
        self._groups = [*_groups(setup.bound, "search")]
        self.searched = sum(len(group.rows) for group in self._groups)
        self._groups += _groups(setup.bound, held_out[0])
        self.items = sum(len(group.rows) for group in self._groups)
        self.tasks = len(parts_of(setup.bound["search"])) or 1
        (stage,) = setup.stages
        setup.load(Path("runs"), print)
        self.space = stage.space
        self._evaluator = stage.problem({}).evaluator

    def sample(
        self, rng: np.random.Generator, share: float, always: Int[np.ndarray, " rows"]
    ) -> Int[np.ndarray, " rows"]:
        """Some items of each group, always as many.

        Args:
            rng: What chooses.
            share: The part that is taken of each group.
            always: Items that are among them.
        """
        taken, first = [], 0
        for group in self._groups:
            size = len(group.rows)
            order = rng.permutation(size)
            order = order[np.argsort(~np.isin(order + first, always), kind="stable")]
            taken.append(first + np.sort(order[: round(share * size)]))
            first += size
        return np.concatenate(taken)

    def __call__(
        self, genotypes: Float[np.ndarray, "pop dims"], rows: Int[np.ndarray, " rows"]
    ) -> Float[np.ndarray, "pop rows"]:
        """Whether each candidate solves each of some items, given in ascending order.

        Raises:
            ValueError: A result is neither right nor wrong.
        """
        found, first = [], 0
        for split in dict.fromkeys(group.split for group in self._groups):
            places = np.concatenate([one.rows for one in self._groups if one.split == split])
            own = rows[(rows >= first) & (rows < first + len(places))] - first
            first += len(places)
            if len(own):
                found.append(self._evaluator(genotypes, split, rows=places[own]).items)
        results = np.concatenate(found, axis=1)
        if not np.isin(results, (0, 1)).all():
            raise ValueError("a result is neither 0 nor 1; record an experiment of right and wrong")
        return results


def _groups(bound: dict, split: str) -> Iterator[Group]:
    """The items that are taken of each task of a split."""
    task = bound[split]
    parts = parts_of(task)
    if len({part.weight for part in parts}) > 1:
        raise ValueError("the tasks have different weights, and items are counted alike here")
    for place in [part.items for part in parts] or [slice(0, len(task))]:
        size = place.stop - place.start
        most = min(size, MOST // max(1, len(parts)))
        spaced = np.linspace(place.start, place.stop - 1, most).round().astype(np.int64)
        yield Group(split, spaced)
