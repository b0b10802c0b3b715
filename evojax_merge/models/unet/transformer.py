"""The transformers that stand between residual blocks, and read the text."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from evojax_merge.models.unet.attention import Attention
from evojax_merge.models.unet.config import UNetConfig
from evojax_merge.models.unet.layers import Conv, Grid, GroupNorm, LayerNorm, Linear
from evojax_merge.params.types import Array, Float

Context = Float[Array, "batch tokens context"]
"""What is attended to: a vector for each token of the text."""

_EPSILON = 1e-6
"""The number in the group norm of every transformer, whatever that of residual blocks is."""


class Gated(nnx.Module):
    """a · gelu(g) for the halves a, g of a linear layer's outputs (Shazeer, 2020, 2002.05202)."""

    def __init__(self, inputs: int, outputs: int):
        self.proj = Linear(inputs, 2 * outputs)

    def __call__(self, x: Float[Array, "batch seq inputs"]) -> Float[Array, "batch seq outputs"]:
        value, gate = jnp.split(self.proj(x), 2, axis=-1)
        return value * jax.nn.gelu(gate, approximate=False)


class FeedForward(nnx.Module):
    """A gated layer of four times the width, and a linear one."""

    def __init__(self, width: int):
        # The place 1 is that of dropout.
        self.net = nnx.Dict({"0": Gated(width, 4 * width), "2": Linear(4 * width, width)})

    def __call__(self, x: Float[Array, "batch seq width"]) -> Float[Array, "batch seq width"]:
        return self.net["2"](self.net["0"](x))


class Block(nnx.Module):
    """Attention to the picture, to the text, and a feed-forward layer, each on a normalised x."""

    def __init__(self, width: int, heads: int, context: int):
        self.norm1 = LayerNorm(width)
        self.attn1 = Attention(width, heads)
        self.norm2 = LayerNorm(width)
        self.attn2 = Attention(width, heads, context)
        self.norm3 = LayerNorm(width)
        self.ff = FeedForward(width)

    def __call__(
        self, x: Float[Array, "batch seq width"], context: Context
    ) -> Float[Array, "batch seq width"]:
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class Transformer(nnx.Module):
    """Blocks over the pixels of a picture, run by ``lax.scan``, added to the picture."""

    def __init__(self, config: UNetConfig, level: int):
        width = config.channels[level]
        self.norm = GroupNorm(width, config.norm_groups, _EPSILON)
        self.proj_in = _projection(config, width)
        self.proj_out = _projection(config, width)

        @nnx.vmap(in_axes=0, out_axes=0)
        def stack(_: Array) -> Block:
            return Block(width, config.heads[level], config.context_width)

        self.transformer_blocks = stack(jnp.arange(config.depths[level]))

    def __call__(self, x: Grid, context: Context) -> Grid:
        graph, stacked = nnx.split(self.transformer_blocks)

        def hop(
            y: Float[Array, "batch seq width"], weights: nnx.State
        ) -> tuple[Float[Array, "batch seq width"], None]:
            return nnx.merge(graph, weights)(y, context), None

        entered = self.proj_in(self.norm(x))
        y = entered.reshape(len(x), -1, x.shape[-1])
        y = jax.lax.scan(hop, y, stacked)[0]
        return x + self.proj_out(y.reshape(x.shape))


def _projection(config: UNetConfig, width: int) -> Any:
    return Linear(width, width) if config.linear_projection else Conv(width, width, kernel=1)
