"""The distance of candidates of any family to given weights, by the leaves of both."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from evojax_merge.models.ability import Batch, Common, LayoutAbility, Program
from evojax_merge.models.decoder.path import PATH
from evojax_merge.models.request import Distance, Request
from evojax_merge.params.types import Array, Float, Params


class Distancing(LayoutAbility):
    """This ability compares the weights of candidates with those in the batch, in one pass."""

    one_by_one: ClassVar[bool] = False

    def program(self, config: Any, request: Distance, axes: Any) -> Program:
        own = self._layout(config)
        if PATH in axes:
            raise ValueError(
                f"paths through layers have no weights of their own, and this task needs a model "
                f"that can {request.needs}; search parameters, or leave the task out"
            )

        def run(params: Params, rows: Array, base: Common) -> Float[Array, "pop batch"]:
            del rows
            apart, whole = jnp.float32(0), jnp.float32(0)
            others = own.unroll(base.value)
            triples = zip(*map(jax.tree.leaves, (params, others, axes)), strict=True)
            for leaf, other, axis in triples:
                if not jnp.issubdtype(leaf.dtype, jnp.inexact):
                    continue
                numbers = other.astype(jnp.float32)
                difference = leaf.astype(jnp.float32) - jnp.expand_dims(numbers, axis)
                rest = tuple(one for one in range(leaf.ndim) if one != axis)
                apart += jnp.square(difference).sum(rest)
                whole += jnp.square(numbers).sum()
            return jnp.sqrt(apart / whole)[:, None]

        return run

    def bytes(
        self,
        config: Any,
        request: Request,
        batch: Batch,
        itemsize: int,
        hops: int | None = None,
    ) -> int:
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(batch[1]))
