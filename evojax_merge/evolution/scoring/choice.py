"""The rule that an experiment's savers ask for."""

import dataclasses

from evojax_merge.evolution.scoring.anchors import Anchors
from evojax_merge.evolution.scoring.base import Items, Rule, Whole
from evojax_merge.evolution.scoring.minibatch import Minibatch
from evojax_merge.evolution.scoring.racing import Racing
from evojax_merge.experiment import Savers
from evojax_merge.fitness.base import BoundTask
from evojax_merge.fitness.several import parts_of
from evojax_merge.strategies.base import Strategy, hears

LEAST = 2
"""Times the items of a minibatch that there are to be, for minibatches that nobody asked for."""


def fitting(savers: Savers, task: BoundTask, strategy: Strategy) -> Savers:
    """The savers, with automatic minibatches switched on if they fit, or else off.

    They fit one task of at least twice their size, with a strategy that is told the fitness and
    averages, where no other saver chooses the items.
    """
    given = savers.automatic
    fit = (
        given is not None
        and not savers.partial
        and not parts_of(task)
        and len(task) >= LEAST * given["size"]
        and getattr(strategy, "averages", False)
        and not getattr(strategy, "scores_itself", False)
        and hears(strategy) == "fitness"
    )
    return dataclasses.replace(savers, automatic=None, minibatch=given if fit else savers.minibatch)


def make_rule(
    savers: Savers, task: BoundTask, strategy: Strategy, sources: Items | None = None
) -> Rule:
    """What is measured of each generation.

    Args:
        savers: Those that are switched on.
        task: Whose items are measured.
        strategy: Who proposes the candidates.
        sources: Results of the sources, for anchors.

    Raises:
        ValueError: A saver does not fit the task or the strategy, or its numbers make no sense.
    """
    for name in savers.partial:
        if getattr(strategy, "scores_itself", False):
            raise ValueError(
                f"savers.{name} chooses what is measured of candidates, and "
                f"{type(strategy).__name__} scores them itself; leave it out"
            )
        if parts_of(task):
            raise ValueError(f"savers.{name} compares candidates by one task, not by several")
        if hears(strategy) != "fitness":
            raise ValueError(
                f"savers.{name} leaves items unmeasured, and {type(strategy).__name__} is told the "
                f"{hears(strategy)}"
            )
    if savers.minibatch is not None:
        if len(savers.partial) > 1:
            other = next(name for name in savers.partial if name != "minibatch")
            raise ValueError(
                f"savers.minibatch and savers.{other} both choose the items of a generation; leave "
                "one out"
            )
        fresh = savers.minibatch.get("fresh", True)
        if fresh and not getattr(strategy, "averages", False):
            name = type(getattr(strategy, "algorithm", strategy)).__name__
            raise ValueError(
                f"savers.minibatch scores each generation on other items, and {name} does not "
                "average candidates but keeps the best, which would be the luckiest; use cma_es or "
                "cr_fm_nes, for instance, or the same items for all with "
                "savers.minibatch.fresh=false, or leave it out"
            )
        return Minibatch(len(task), **savers.minibatch)
    racing = None if savers.racing is None else Racing(len(task), **savers.racing)
    if savers.anchors is not None:
        return Anchors(len(task), **savers.anchors, racing=racing, sources=sources)
    return racing or Whole(len(task))
