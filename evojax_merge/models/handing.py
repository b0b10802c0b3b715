"""Candidates of any family are handed over to a function on the host, as parameters of a model."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import numpy as np

from evojax_merge.models.ability import Batch, LayoutAbility
from evojax_merge.models.decoder.path import PATH
from evojax_merge.models.request import HandOver, Request
from evojax_merge.params.types import Float, Params

HostProgram = Callable[..., Any]
"""(parameters of a population, *fields of a batch, ``count``) -> outputs of the first ``count``."""


class Handing(LayoutAbility):
    """This ability takes candidates to the host, one after another, and calls a function there."""

    one_by_one: ClassVar[bool] = True
    on_host: ClassVar[bool] = True

    def program(self, config: Any, request: HandOver, axes: Any) -> HostProgram:
        own = self._layout(config)
        if PATH in axes:
            raise ValueError(
                "paths through layers are no checkpoints, and this task needs a model that can "
                f"{request.needs}; measure the exported winner, or search parameters"
            )

        def run(
            params: Params, *fields: Any, count: int | None = None
        ) -> Float[np.ndarray, "pop numbers"]:
            del fields
            pairs = zip(jax.tree.leaves(axes), jax.tree.leaves(params), strict=True)
            axis, first = next(pairs)
            every = range(first.shape[axis] if count is None else count)
            return np.stack([request.function(own.roll(_one(params, axes, at))) for at in every])

        return run

    def bytes(
        self,
        config: Any,
        request: Request,
        batch: Batch,
        itemsize: int,
        hops: int | None = None,
    ) -> int:
        return 0


def _one(params: Params, axes: Any, index: int) -> Params:
    """Take one candidate of a population to the host."""

    def take(axis: int, leaf: Any) -> np.ndarray:
        whole: np.ndarray = jax.device_get(leaf)
        return whole[(slice(None),) * axis + (index,)]

    return jax.tree.map(take, axes, params)
