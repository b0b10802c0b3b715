"""What can be done with any model by the names of its tensors. Nothing here runs it."""

from typing import Any

import jax
import jax.numpy as jnp

from evojax_merge.models.ability import Batch, LayoutAbility, Program
from evojax_merge.models.layout import Layout
from evojax_merge.models.named.params import layout
from evojax_merge.models.request import Compute, CountLayers, Request
from evojax_merge.params.tree import flatten
from evojax_merge.params.types import Array, Float, Int, Params


class LayerCount(LayoutAbility):
    """This ability counts all layers that a model has, since such a model cannot be routed."""

    def program(self, config: Any, request: CountLayers, axes: Any) -> Program:
        own = self._layout(config)

        def count(params: Params, layers: Int[Array, " batch"]) -> Float[Array, "pop batch"]:
            path, leaf = next(iter(flatten(params).items()))
            pop = leaf.shape[int(path in own.stacked)]
            return jnp.full((pop, 1), own.depth()) / layers

        return count

    def bytes(
        self,
        config: Any,
        request: Request,
        batch: Batch,
        itemsize: int,
        hops: int | None = None,
    ) -> int:
        return 0


class Computation(LayoutAbility):
    """This ability gives the tensors of each candidate, by name, to a function of the task."""

    def program(self, config: Any, request: Compute, axes: Any) -> Program:
        own = self._layout(config)

        def one(params: Params, *fields: Array) -> Array:
            return request.function(tensors_of(own, params), *fields)

        def run(params: Params, *fields: Array) -> Array:
            return jax.vmap(one, in_axes=(axes, *(None for _ in fields)))(params, *fields)

        return run

    def bytes(
        self,
        config: Any,
        request: Compute,
        batch: Batch,
        itemsize: int,
        hops: int | None = None,
    ) -> int:
        return request.memory


def tensors_of(layout: Layout, params: Params) -> dict[str, Array]:
    """Return the tensors of a tree by the names that they have on disk."""
    leaves = flatten(params)
    return {
        name: leaves[slot.path] if slot.layer is None else leaves[slot.path][slot.layer]
        for name, slot in layout.slots.items()
    }


ABILITIES = {CountLayers: LayerCount(layout), Compute: Computation(layout)}
