"""The rule that an experiment's savers ask for."""

import dataclasses
from typing import Any

import numpy as np

from evojax_merge.config.experiment import MinibatchConfig, Savers
from evojax_merge.documents.arguments import check_whole
from evojax_merge.fitness.base import BoundTask, is_divisible
from evojax_merge.fitness.several import parts_of
from evojax_merge.models.request import Draw
from evojax_merge.savers.anchors import Anchors
from evojax_merge.savers.base import Items, Rule, Whole
from evojax_merge.savers.minibatch import LEAST, Minibatch
from evojax_merge.savers.racing import Racing
from evojax_merge.strategies.base import Strategy

WORTHWHILE = 0.5
"""The most that minibatches nobody asked for may cost, as a share of the cost of all items."""


def fitting(savers: Savers, task: BoundTask, strategy: Strategy) -> Savers:
    """The savers, with automatic minibatches switched on if they fit, or else off.

    They fit one task of which a part costs half as much or less, where no other saver chooses the
    items. The strategy must be one that is told the fitness and averages; any strategy will do if
    all candidates meet the same part.

    Raises:
        ValueError: The size of the minibatches makes no sense, whether they fit or not.
    """
    given = savers.automatic
    if given is None:
        return savers
    size = check_whole("savers.minibatch.size", given.get("size", MinibatchConfig.size), LEAST)
    fit = (
        not savers.partial
        and not parts_of(task)
        and is_divisible(task)
        and (strategy.averages or not given.get("fresh", True))
        and not strategy.scores_itself
        and strategy.hears == "fitness"
        and _saves(task, size)
    )
    return dataclasses.replace(savers, automatic=None, minibatch=given if fit else savers.minibatch)


def _saves(task: BoundTask, size: int) -> bool:
    """Whether a part of a task costs little enough, and takes no more memory than a batch of all.

    A part is one batch as long as its longest row (`BoundTask.take`). With a few long items among
    many short ones, it may be more work than all items in batches of their lengths.
    """
    if size > WORTHWHILE * len(task):
        return False
    if isinstance(task.request, Draw):
        return True  # all of its pictures are of one size
    first: list[Any] = [batch[0] for batch in task.batches]
    shapes = np.array([field.shape[:2] for field in first])
    rows, longest = size * shapes[:, 0].sum() / len(task), shapes[:, 1].max()
    tokens, pairs = shapes[:, 0] * shapes[:, 1], shapes[:, 0] * shapes[:, 1] ** 2
    cheap = rows * longest <= WORTHWHILE * tokens.sum()
    return bool(cheap and rows * longest <= tokens.max() and rows * longest**2 <= pairs.max())


def make_rule(
    savers: Savers, task: BoundTask, strategy: Strategy, sources: Items | None = None
) -> Rule:
    """The rule that says what is measured of each generation.

    Args:
        savers: The savers that are switched on.
        task: The task whose items are measured.
        strategy: The strategy that proposes the candidates.
        sources: The results of the sources, for anchors.

    Raises:
        ValueError: A saver does not fit the task or the strategy, or its numbers make no sense.
    """
    for name in savers.partial:
        if strategy.scores_itself:
            raise ValueError(
                f"savers.{name} chooses what is measured of candidates, and "
                f"{strategy.name} scores them itself; leave it out"
            )
        if parts_of(task):
            raise ValueError(f"savers.{name} compares candidates by one task, not by several")
        if not is_divisible(task):
            raise ValueError(
                f"savers.{name} compares candidates by some of the items, and this fitness is one "
                "number for all of them together; leave it out"
            )
        if strategy.hears != "fitness":
            raise ValueError(
                f"savers.{name} leaves items unmeasured, and {strategy.name} is told the "
                f"{strategy.hears}"
            )
    if savers.minibatch is not None:
        if len(savers.partial) > 1:
            other = next(name for name in savers.partial if name != "minibatch")
            raise ValueError(
                f"savers.minibatch and savers.{other} both choose the items of a generation; leave "
                "one out"
            )
        fresh = savers.minibatch.get("fresh", True)
        if fresh and not strategy.averages:
            raise ValueError(
                f"savers.minibatch scores each generation on other items, and {strategy.name} does "
                "not average candidates but keeps the best, which would be the luckiest; use "
                "cma_es or cr_fm_nes, for instance, or the same items for all with "
                "savers.minibatch.fresh=false, or leave it out"
            )
        return Minibatch(len(task), **savers.minibatch)
    racing = None if savers.racing is None else Racing(len(task), **savers.racing)
    if savers.anchors is not None:
        return Anchors(len(task), **savers.anchors, racing=racing, sources=sources)
    return racing or Whole(len(task))
