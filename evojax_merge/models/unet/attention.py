"""Attention whose scores never stand in memory all at once."""

import jax
from flax import nnx

from evojax_merge.models.decoder.flash import implementation_for
from evojax_merge.models.pieces import in_pieces
from evojax_merge.models.unet.layers import Linear, numbered
from evojax_merge.params.types import Array, Float

_SCORES = 2**20
"""How many scores of one head are computed at a time."""


def attend(
    q: Float[Array, "batch seq heads head_dim"],
    k: Float[Array, "batch keys heads head_dim"],
    v: Float[Array, "batch keys heads head_dim"],
) -> Float[Array, "batch seq heads head_dim"]:
    """Compute softmax(q kᵀ / √head_dim) v, with scores in float32.

    A fused kernel computes it where the backend has one. Elsewhere some queries are computed at a
    time, and again for a gradient, so that memory grows with the number of pixels and not with its
    square.
    """
    if (fused := implementation_for(q.dtype, q.shape[-1])) is not None:
        return jax.nn.dot_product_attention(q, k, v, implementation=fused)

    def some(
        queries: Float[Array, "some batch heads head_dim"],
    ) -> Float[Array, "some batch heads head_dim"]:
        mixed = jax.nn.dot_product_attention(queries.swapaxes(0, 1), k, v, implementation="xla")
        return mixed.swapaxes(0, 1)

    rows = max(_SCORES // k.shape[1], 1)
    if q.shape[1] <= rows:
        return jax.nn.dot_product_attention(q, k, v, implementation="xla")
    return in_pieces(jax.checkpoint(some), q.swapaxes(0, 1), rows).swapaxes(0, 1)


class Attention(nnx.Module):
    """Multi-head attention to another sequence, or to its own.

    Args:
        width: The width of the sequence.
        heads: The number of heads.
        context: The width of what is attended to, or None where that is the sequence itself.
        bias: Whether queries, keys and values have a bias.
    """

    def __init__(self, width: int, heads: int, context: int | None = None, bias: bool = False):
        read = width if context is None else context
        self.to_q = Linear(width, width, bias)
        self.to_k = Linear(read, width, bias)
        self.to_v = Linear(read, width, bias)
        self.to_out = numbered([Linear(width, width)])
        self.heads = heads

    def __call__(
        self,
        x: Float[Array, "batch seq width"],
        context: Float[Array, "batch keys read"] | None = None,
    ) -> Float[Array, "batch seq width"]:
        read = x if context is None else context
        q, k, v = (
            part(own).reshape(*own.shape[:2], self.heads, -1)
            for part, own in ((self.to_q, x), (self.to_k, read), (self.to_v, read))
        )
        return self.to_out["0"](attend(q, k, v).reshape(x.shape))
