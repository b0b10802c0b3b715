"""How an experiment becomes what is searched."""

from collections.abc import Callable
from typing import Any

from evojax_merge.config.experiment import Experiment
from evojax_merge.fitness.several import tasks_of
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.models.request import Distance, HandOver
from evojax_merge.runs.dataflow import DataflowSetup
from evojax_merge.runs.hybrid import HybridSetup
from evojax_merge.runs.joint import JointSetup
from evojax_merge.runs.parameter import ParameterSetup
from evojax_merge.runs.setup import Setup
from evojax_merge.runs.weights import WeightsSetup
from evojax_merge.savers import fitting, make_rule
from evojax_merge.spaces import kind_of

_KINDS: dict[str, Callable[[Experiment], Setup]] = {
    "parameter": ParameterSetup.prepared_for,
    "dataflow": DataflowSetup.prepared_for,
    "hybrid": HybridSetup.prepared_for,
    "joint": JointSetup.prepared_for,
    "weights": WeightsSetup.prepared_for,
}


def set_up(experiment: Experiment, measuring: Callable[..., Any] = Evaluator) -> Setup:
    """Check everything that can be checked without weights.

    Args:
        experiment: What is to be done.
        measuring: What makes the evaluator of a search, from the arguments of `Evaluator`.

    Raises:
        ValueError: Something makes the experiment impossible.
    """
    if experiment.budget.curve and kind_of(experiment.space) == "weights":
        raise ValueError(
            "search.curve measures candidates of the history again, and with space=weights the "
            "history has no genotypes; leave it out"
        )
    kind = kind_of(experiment.space)
    setup = _KINDS[kind](experiment)
    setup.measuring = measuring
    requests = [one.request for one in tasks_of(setup.bound["search"])]
    if kind in ("dataflow", "hybrid", "joint"):
        if any(isinstance(one, HandOver) for one in requests):
            raise ValueError(
                f"{experiment.task.name}: a measure of your own is given checkpoints, which a path "
                "through layers is not; search parameters (space=parameter_layers) or weights"
            )
        if any(isinstance(one, Distance) for one in requests):
            raise ValueError(
                f"{experiment.task.name}: a path through layers has no weights of its own, whose "
                "distance to the base could be measured; search parameters, or leave distance out"
            )
    for stage in setup.stages:
        task = setup.bound["search"]
        stage.savers = fitting(experiment.savers, task, stage.strategy)
        make_rule(stage.savers, task, stage.strategy)
    return setup
