"""What a UNet can do, with the rest of its pipeline or by itself: draw pictures."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from evojax_merge.models.ability import Ability, Batch, Common, PerItem, Program
from evojax_merge.models.diffusion.config import DiffusionConfig
from evojax_merge.models.diffusion.drawing import Seeds, check_size, draw, whole_numbers
from evojax_merge.models.diffusion.memory import drawing_bytes
from evojax_merge.models.diffusion.params import layout
from evojax_merge.models.named.abilities import Computation, LayerCount
from evojax_merge.models.pieces import in_pieces
from evojax_merge.models.request import Compute, CountLayers, Draw
from evojax_merge.models.unet.config import UNetConfig
from evojax_merge.params.population import capacity, each_leaf, only
from evojax_merge.params.types import Array, Int, Params


class Drawer(Ability):
    """This ability draws pictures, one candidate after another.

    Candidates at once would have convolutions in groups, which are slow wherever they run.
    """

    def program(self, config: UNetConfig | DiffusionConfig, request: Draw, axes: Any) -> Program:
        check_size(request)

        def run(
            params: Params, items: PerItem, seeds: Seeds, judged: PerItem, drawing: Common
        ) -> Array:
            def one(own: Params) -> Array:
                return _outputs(config, request, own, items, seeds, judged, drawing)

            if capacity(axes, params) == 1:
                return one(only(axes, params))[None]

            def of(index: Int[Array, ""]) -> Array:
                return one(each_leaf(lambda axis, leaf: _at(index, axis, leaf), axes, params))

            return jax.lax.map(of, jnp.arange(capacity(axes, params)))

        return run

    def bytes(
        self,
        config: UNetConfig | DiffusionConfig,
        request: Draw,
        batch: Batch,
        itemsize: int,
        hops: int | None = None,
    ) -> int:
        items, seeds, *_ = batch
        rows = min(request.rows or len(seeds), len(seeds))
        own = config.unet if isinstance(config, DiffusionConfig) else config
        encoders = config.encoders if isinstance(config, DiffusionConfig) else {}
        pictures = drawing_bytes(own, request, encoders, items.value, rows, itemsize)
        return pictures + rows * request.judge_bytes

    def smaller(self, request: Draw, batches: Sequence[Batch]) -> Draw | None:
        rows = min(request.rows or len(batches[0][1]), max(len(batch[1]) for batch in batches))
        return dataclasses.replace(request, rows=rows // 2) if rows > 1 else None


def _at(index: Int[Array, ""], axis: int | None, leaf: Array) -> Array:
    if axis is None:
        return leaf
    return jax.lax.dynamic_index_in_dim(leaf, index, axis, keepdims=False)


def _outputs(
    config: UNetConfig | DiffusionConfig,
    request: Draw,
    params: Params,
    items: PerItem,
    seeds: Seeds,
    judged: PerItem,
    drawing: Common,
) -> Array:
    """Return what a candidate draws, or the scores of that, some rows at a time."""
    whole = isinstance(config, DiffusionConfig)
    own = params if whole else {"unet": params}
    parts = {**drawing.value.params, **own}
    encoders = config.encoders if isinstance(config, DiffusionConfig) else None
    unet = config.unet if isinstance(config, DiffusionConfig) else config
    negative = drawing.value.negative

    def some(rows: Int[Array, " rows"]) -> Array:
        told, chosen, arrays = items[rows].value, jnp.asarray(seeds)[rows], judged[rows].value
        pictures = draw(unet, request, parts, told, chosen, negative, encoders)
        if request.judge is None:
            return whole_numbers(pictures)
        return request.judge(drawing.value.judge, pictures, *arrays).astype(jnp.float32)

    return in_pieces(some, jnp.arange(len(seeds)), request.rows)


ABILITIES = {
    Draw: Drawer(),
    CountLayers: LayerCount(layout),
    Compute: Computation(layout),
}
