"""The layers of a decoder, as Flax NNX modules.

Weights keep the checkpoint's ``[out, in]`` layout, so that loading and exporting move bytes and
nothing else.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from flax import nnx

from evojax_merge.models.activations import activate
from evojax_merge.models.decoder import rope
from evojax_merge.models.decoder.attention import (
    Positions,
    attend,
    attend_newest,
    shared_part,
    visible,
)
from evojax_merge.models.decoder.cache import Cache
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.probe import observed
from evojax_merge.params.types import Array, Float, Int, Tokens


class Linear(nnx.Module):
    """y = W x + b with W of shape [out, in], as checkpoints store it."""

    def __init__(self, inputs: int, outputs: int, bias: bool, *, rngs: nnx.Rngs):
        self.weight = nnx.Param(_normal(rngs, (outputs, inputs)))
        if bias:
            self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        y = jnp.einsum("...i,oi->...o", observed(self, x), self.weight[...])
        return y + self.bias[...] if hasattr(self, "bias") else y


class RMSNorm(nnx.Module):
    """x / rms(x) · w, the quotient in float32 (Zhang and Sennrich, 2019, arXiv 1910.07467)."""

    def __init__(self, width: int, config: DecoderConfig):
        plus_one = config.norm == "rms_plus_one"
        self.weight = nnx.Param(jnp.zeros(width) if plus_one else jnp.ones(width))
        self.epsilon = config.rms_norm_eps
        self.kind = config.norm

    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        wide = x.astype(jnp.float32)
        scale = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + self.epsilon)
        if self.kind == "rms":
            return self.weight[...] * (wide * scale).astype(x.dtype)
        weight = self.weight[...].astype(jnp.float32)
        weight = 1.0 + weight if self.kind == "rms_plus_one" else weight
        return (weight * (wide * scale)).astype(x.dtype)


class Embedding(nnx.Module):
    """The embedding has a row per token. Read the other way round it is a tied head."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        self.weight = nnx.Param(_normal(rngs, (config.vocab_size, config.hidden_size)))
        self.scale = config.embedding_scale

    def __call__(self, tokens: Tokens) -> Float[Array, "batch seq hidden"]:
        rows = self.weight[...][tokens]
        return rows if self.scale is None else rows * jnp.asarray(self.scale, rows.dtype)


class Attention(nnx.Module):
    """Grouped-query attention with rotary positions and a sliding window for each layer."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        c = config
        queries, keys = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
        if c.fused:
            self.qkv_proj = Linear(c.hidden_size, queries + 2 * keys, c.qkv_bias, rngs=rngs)
        else:
            self.q_proj = Linear(c.hidden_size, queries, c.qkv_bias, rngs=rngs)
            self.k_proj = Linear(c.hidden_size, keys, c.qkv_bias, rngs=rngs)
            self.v_proj = Linear(c.hidden_size, keys, c.qkv_bias, rngs=rngs)
        self.o_proj = Linear(queries, c.hidden_size, c.o_bias, rngs=rngs)
        if c.qk_norm != "none":
            whole = c.qk_norm == "projection"
            self.q_norm = RMSNorm(queries if whole else c.head_dim, c)
            self.k_norm = RMSNorm(keys if whole else c.head_dim, c)
        self.config = c

    def __call__(
        self,
        x: Float[Array, "batch seq hidden"],
        at: Positions,
        window: Int[Array, ""],
        layer: Int[Array, ""] | None,
        cache: Cache | None,
        prefix: Cache | None = None,
        last_only: bool = False,
    ) -> tuple[Float[Array, "batch read hidden"], Cache | None]:
        c = self.config
        asking = at.last if last_only else at
        q, k, v = (y.reshape(*y.shape[:2], -1, c.head_dim) for y in self._projected(x, last_only))
        if c.qk_norm == "head":
            q, k = self.q_norm(q), self.k_norm(k)
        q = rope.rotate(q, *asking.rotation_of(window))
        k = rope.rotate(k, *at.rotation_of(window))
        k, v = k.transpose(0, 2, 3, 1), v.swapaxes(1, 2)
        times = at.query
        if cache is not None:
            if at.fresh and layer is None:
                cache = Cache(k, v).with_room(cache.keys.shape[-1] - k.shape[-1])
            else:
                cache = cache.write(k, v, at.slot, layer)
            if not at.fresh:
                k, v = cache.of(layer)
                times = at.times(k.shape[-1])
        shared = None if prefix is None else shared_part(*prefix.of(layer), asking, window)
        scale, soft_cap = c.attention_scale, c.attention_soft_cap
        if asking.in_use:
            mixed = attend_newest(q, k, v, asking, window, shared, scale, soft_cap)
        else:
            seen = visible(asking, times, window)
            mixed = attend(q, k, v, seen, shared, asking.kernel, scale, soft_cap)
        return self.o_proj(mixed.reshape(*mixed.shape[:2], -1)), cache

    def _projected(
        self, x: Float[Array, "batch seq hidden"], last_only: bool
    ) -> Iterator[Float[Array, "batch some channels"]]:
        """Compute queries, of all tokens or the last ones, and keys and values, of all heads."""
        c = self.config
        asking = x[:, -1:] if last_only else x
        if c.fused:
            queries, keys = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
            q, k, v = jnp.split(self.qkv_proj(x), (queries, queries + keys), axis=-1)
            yield from (q[:, -1:] if last_only else q, k, v)
        elif c.qk_norm == "projection":
            yield self.q_norm(self.q_proj(asking))
            yield self.k_norm(self.k_proj(x))
            yield self.v_proj(x)
        else:
            yield self.q_proj(asking)
            yield self.k_proj(x)
            yield self.v_proj(x)


class MLP(nnx.Module):
    """down(act(gate(x)) · up(x))."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        c = config
        if c.fused:
            self.gate_up_proj = Linear(
                c.hidden_size, 2 * c.intermediate_size, c.mlp_bias, rngs=rngs
            )
        else:
            self.gate_proj = Linear(c.hidden_size, c.intermediate_size, c.mlp_bias, rngs=rngs)
            self.up_proj = Linear(c.hidden_size, c.intermediate_size, c.mlp_bias, rngs=rngs)
        self.down_proj = Linear(c.intermediate_size, c.hidden_size, c.mlp_bias, rngs=rngs)
        self.activation = c.hidden_act
        self.fused = c.fused

    def __call__(self, x: Float[Array, "batch seq hidden"]) -> Float[Array, "batch seq hidden"]:
        if self.fused:
            gate, up = jnp.split(self.gate_up_proj(x), 2, axis=-1)
            return self.down_proj(activate(self.activation, gate) * up)
        return self.down_proj(activate(self.activation, self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nnx.Module):
    """Attention and MLP, with norms before each, after each, or both."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        self.self_attn = Attention(config, rngs=rngs)
        self.mlp = MLP(config, rngs=rngs)
        self.names = config.norms
        for name in filter(None, config.norms):
            setattr(self, name, RMSNorm(config.hidden_size, config))

    def __call__(
        self,
        x: Float[Array, "batch seq hidden"],
        at: Positions,
        window: Int[Array, ""],
        layer: Int[Array, ""] | None,
        cache: Cache | None,
        prefix: Cache | None = None,
        last_only: bool = False,
    ) -> tuple[Float[Array, "batch read hidden"], Float[Array, "batch read hidden"], Cache | None]:
        """Return the stream after attention, what the MLP adds to it, and the cache.

        With ``last_only`` they are those of each row's last token, but for the cache.
        """
        read = self._normed(self.names.attention_input, x)
        attended, cache = self.self_attn(read, at, window, layer, cache, prefix, last_only)
        x = x[:, -1:] if last_only else x
        x = x + self._normed(self.names.attention_output, attended)
        added = self.mlp(self._normed(self.names.mlp_input, x))
        return x, self._normed(self.names.mlp_output, added), cache

    def _normed(
        self, name: str | None, x: Float[Array, "batch seq hidden"]
    ) -> Float[Array, "batch seq hidden"]:
        """Apply the norm of a name to x. None leaves x as it is."""
        return x if name is None else getattr(self, name)(x)


def _normal(rngs: nnx.Rngs, shape: tuple[int, ...]) -> Float[Array, "..."]:
    return 0.02 * jax.random.normal(rngs.params(), shape)
