"""Sources that are the base are found before anything is written."""

import numpy as np

from evojax_merge.checkpoints.comparison import same_tensor
from evojax_merge.checkpoints.headers import TensorInfo
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.exchange.plan import Plan


def check_task_vectors(plan: Plan) -> None:
    """Check that every source differs from its base in some tensor. It reads until one does.

    Raises:
        ExchangeError: The task vector of a source is zero everywhere.
    """
    pairs: dict[int, list[tuple[TensorInfo, TensorInfo]]] = {}
    for job in plan.jobs:
        if job.base is not None:
            base = plan.checkpoints[job.base.model].tensors[job.base.tensor]
            for source in job.sources:
                if source.model in plan.adapters:  # which changes its model by what it is
                    continue
                own = plan.checkpoints[source.model].tensors[source.tensor]
                pairs.setdefault(source.model, []).append((base, own))
    for model, tensors in pairs.items():
        tensors.sort(key=lambda pair: int(np.prod(pair[0].shape)))
        if all(same_tensor(base, own) for base, own in tensors):
            raise ExchangeError(
                f"{plan.checkpoints[model].directory} is the base in every tensor, so that it adds "
                "nothing to it: leave it out, or give the checkpoint that was meant"
            )
