"""Attention whose scores never stand in memory all at once."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from evojax_merge.models.decoder.flash import implementation_for
from evojax_merge.models.pieces import in_pieces
from evojax_merge.models.target import target
from evojax_merge.models.unet.layers import Linear, numbered
from evojax_merge.params.types import Array, Float

_SCORES = {"cpu": 2**20, "accelerator": 2**27}
"""How many scores stand in memory at a time. Those of a CPU stay in its cache."""


def attend(
    q: Float[Array, "batch seq heads head_dim"],
    k: Float[Array, "batch keys heads head_dim"],
    v: Float[Array, "batch keys heads head_dim"],
) -> Float[Array, "batch seq heads head_dim"]:
    """Compute softmax(q kᵀ / √head_dim) v, with scores in float32.

    A fused kernel computes it where the backend has one. Elsewhere large scores are computed for
    one head and some queries at a time, and again for a gradient, so that memory grows with the
    number of pixels and not with its square.
    """
    if (fused := implementation_for(q.dtype, q.shape[-1])) is not None:
        return jax.nn.dot_product_attention(q, k, v, implementation=fused)
    most = _most()
    q, k, v = (part.swapaxes(1, 2) for part in (q, k, v))
    if math.prod(q.shape[:3]) * k.shape[2] <= most:
        return _mix(q, k, v).swapaxes(1, 2)

    def head(parts: tuple[Array, Array, Array]) -> Array:
        queries, keys, values = parts
        some = jax.checkpoint(lambda rows: _mix(rows, keys, values))
        return in_pieces(some, queries, max(most // len(keys), 1))

    one_by_one = tuple(part.reshape(-1, *part.shape[2:]) for part in (q, k, v))
    return jax.lax.map(head, one_by_one).reshape(q.shape).swapaxes(1, 2)


def scores_at_a_time(sequences: int, seq: int, keys: int) -> int:
    """Return how many scores `attend` holds at a time, where no kernel computes them.

    Args:
        sequences: The number of heads, times that of the rows of a batch.
        seq: The length of a sequence.
        keys: The length of what is attended to.
    """
    every, most = sequences * seq * keys, _most()
    return every if every <= most else max(most, keys)


def _most() -> int:
    return _SCORES["cpu" if target().platform == "cpu" else "accelerator"]


def _mix(
    q: Float[Array, "*heads seq head_dim"],
    k: Float[Array, "*heads keys head_dim"],
    v: Float[Array, "*heads keys head_dim"],
) -> Float[Array, "*heads seq head_dim"]:
    """Attend to all keys at once. Shares are divided by their sum last, where they are fewer."""
    scale = q.shape[-1] ** -0.5
    scores = jnp.einsum("...qd,...kd->...qk", q, k, preferred_element_type=jnp.float32) * scale
    shares = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    total = shares.sum(axis=-1, keepdims=True)
    mixed = jnp.einsum(
        "...qk,...kd->...qd", shares.astype(v.dtype), v, preferred_element_type=jnp.float32
    )
    return (mixed / total).astype(v.dtype)


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
