"""Sources that are the base, found before anything is written."""

from collections.abc import Iterator

import numpy as np

from evojax_merge.checkpoints.headers import TensorInfo, open_safetensors
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.exchange.planning import Origin, Plan

PIECE = 2**20
"""Elements compared at once."""


def check_task_vectors(plan: Plan) -> None:
    """Whether every source differs from its base in some tensor; reads until it does.

    Raises:
        ExchangeError: The task vector of a source is zero everywhere.
    """
    pairs: dict[int, list[tuple[TensorInfo, Origin, TensorInfo, Origin]]] = {}
    for job in plan.jobs:
        if job.base is not None:
            base = plan.checkpoints[job.base.model].tensors[job.base.tensor]
            for source in job.sources:
                own = plan.checkpoints[source.model].tensors[source.tensor]
                pairs.setdefault(source.model, []).append((base, job.base, own, source))
    for model, tensors in pairs.items():
        tensors.sort(key=lambda pair: int(np.prod(pair[0].shape)))
        if all(_equal(*pair) for pair in tensors):
            raise ExchangeError(
                f"{plan.checkpoints[model].directory} is the base in every tensor, so that it adds "
                "nothing to it: leave it out, or give the checkpoint that was meant"
            )


def _equal(base: TensorInfo, at: Origin, own: TensorInfo, own_at: Origin) -> bool:
    return base.shape == own.shape and all(
        np.array_equal(ours, theirs)
        for ours, theirs in zip(_pieces(base, at.tensor), _pieces(own, own_at.tensor), strict=True)
    )


def _pieces(info: TensorInfo, name: str) -> Iterator[np.ndarray]:
    width = int(np.prod(info.shape[1:], dtype=np.int64))
    step = max(1, PIECE // width)
    with open_safetensors(info.file) as file:
        rows = file.get_slice(name)
        for first in range(0, info.shape[0], step):
            yield rows[first : min(first + step, info.shape[0])].astype(np.float32)
