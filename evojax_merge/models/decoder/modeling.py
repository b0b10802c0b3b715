"""One pre-norm decoder for Llama, Mistral, Qwen2 and Qwen3.

Layers are stacked on a leading axis and run by ``lax.scan``, or in the order that a path in the
parameters gives; what differs between layers (the sliding window) is per-layer data. Weights keep
the checkpoint's ``[out, in]`` layout, so that loading and exporting move bytes and nothing else.
Modules are Flax NNX; they leave this file only as `forward`, a pure function of a parameter tree.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from evojax_merge.models.decoder import rope
from evojax_merge.models.decoder.attention import (
    Positions,
    attend,
    shared_part,
    slot_times,
    visible,
)
from evojax_merge.models.decoder.cache import Cache, Caches, is_shallow, slots_of
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.flash import implementation_for
from evojax_merge.models.decoder.params import layout
from evojax_merge.models.decoder.path import PATH, Path
from evojax_merge.models.probe import attach, observed
from evojax_merge.params.types import Array, Bool, Float, Int, Params, PRNGKey, Tokens

_UNLIMITED = np.iinfo(np.int32).max // 2


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

    def __init__(self, width: int, epsilon: float):
        self.weight = nnx.Param(jnp.ones(width))
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        wide = x.astype(jnp.float32)
        scale = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + self.epsilon)
        return self.weight[...] * (wide * scale).astype(x.dtype)


class Embedding(nnx.Module):
    """A row of the table per token; read the other way round it is a tied head."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        self.weight = nnx.Param(_normal(rngs, (config.vocab_size, config.hidden_size)))

    def __call__(self, tokens: Tokens) -> Float[Array, "batch seq hidden"]:
        return self.weight[...][tokens]


class Attention(nnx.Module):
    """Grouped-query attention with rotary positions and, per layer, a sliding window."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        c = config
        queries, keys = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
        self.q_proj = Linear(c.hidden_size, queries, c.qkv_bias, rngs=rngs)
        self.k_proj = Linear(c.hidden_size, keys, c.qkv_bias, rngs=rngs)
        self.v_proj = Linear(c.hidden_size, keys, c.qkv_bias, rngs=rngs)
        self.o_proj = Linear(queries, c.hidden_size, c.o_bias, rngs=rngs)
        if c.qk_norm:
            self.q_norm = RMSNorm(c.head_dim, c.rms_norm_eps)
            self.k_norm = RMSNorm(c.head_dim, c.rms_norm_eps)
        self.head_dim = c.head_dim

    def __call__(
        self,
        x: Float[Array, "batch seq hidden"],
        at: Positions,
        window: Int[Array, ""],
        layer: Int[Array, ""] | None,
        cache: Cache | None,
        prefix: Cache | None = None,
    ) -> tuple[Float[Array, "batch seq hidden"], Cache | None]:
        split = (*x.shape[:2], -1, self.head_dim)
        q = self.q_proj(x).reshape(split)
        k = self.k_proj(x).reshape(split)
        v = self.v_proj(x).reshape(split)
        if hasattr(self, "q_norm"):
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = rope.rotate(q, at.cos, at.sin), rope.rotate(k, at.cos, at.sin)
        k, v = k.transpose(0, 2, 3, 1), v.swapaxes(1, 2)
        times = at.query
        if cache is not None:
            cache = cache.write(k, v, at.query[0], layer)
            if not at.fresh:
                k, v = cache.of(layer)
                times = slot_times(at.query[-1], k.shape[-1])
        shared = None if prefix is None else shared_part(*prefix.of(layer), at, window)
        mixed = attend(q, k, v, visible(at, times, window), shared, at.kernel)
        return self.o_proj(mixed.reshape(*x.shape[:2], -1)), cache


class MLP(nnx.Module):
    """down(act(gate(x)) · up(x))."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        c = config
        self.gate_proj = Linear(c.hidden_size, c.intermediate_size, c.mlp_bias, rngs=rngs)
        self.up_proj = Linear(c.hidden_size, c.intermediate_size, c.mlp_bias, rngs=rngs)
        self.down_proj = Linear(c.intermediate_size, c.hidden_size, c.mlp_bias, rngs=rngs)
        self.activation = c.hidden_act

    def __call__(self, x: Float[Array, "batch seq hidden"]) -> Float[Array, "batch seq hidden"]:
        return self.down_proj(_activate(self.activation, self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nnx.Module):
    """Attention and MLP, each on a normalised copy of the residual stream."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, rngs=rngs)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "batch seq hidden"],
        at: Positions,
        window: Int[Array, ""],
        layer: Int[Array, ""] | None,
        cache: Cache | None,
        prefix: Cache | None = None,
    ) -> tuple[Float[Array, "batch seq hidden"], Float[Array, "batch seq hidden"], Cache | None]:
        """The stream after attention, what the MLP adds to it, and the cache."""
        attended, cache = self.self_attn(self.input_layernorm(x), at, window, layer, cache, prefix)
        x = x + attended
        return x, self.mlp(self.post_attention_layernorm(x)), cache


class Decoder(nnx.Module):
    """Embedding, stacked layers, final norm and head."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        @nnx.split_rngs(splits=config.num_layers)
        @nnx.vmap(in_axes=0, out_axes=0)
        def stack(rngs: nnx.Rngs) -> DecoderLayer:
            return DecoderLayer(config, rngs=rngs)

        self.config = config
        self.embed_tokens = Embedding(config, rngs=rngs)
        self.layers = stack(rngs)
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        if not config.tie_word_embeddings:
            self.lm_head = Linear(config.hidden_size, config.vocab_size, False, rngs=rngs)

    def __call__(
        self,
        tokens: Tokens,
        start: Int[Array, " batch"],
        cache: Caches | None,
        offset: Int[Array, ""] | int,
        path: Path | None,
        prefix: Caches | None,
        last_only: bool,
        kernels: bool,
    ) -> tuple[Float[Array, "batch seq vocab"], Caches | None]:
        x = self.embed_tokens(tokens)
        at = _positions(self.config, tokens.shape[1], start, offset, x.dtype, slots_of(prefix))
        if kernels and at.fresh:
            at = at._replace(kernel=implementation_for(x.dtype, self.config.head_dim))
        if path is None:
            x, cache = self._run_layers(x, at, cache, prefix)
        else:
            x, cache = self._run_path(x, at, cache, prefix, path)
        x = self.norm(x[:, -1:] if last_only else x)
        head = self.embed_tokens if self.config.tie_word_embeddings else self.lm_head
        logits = jnp.einsum("bsh,vh->bsv", observed(head, x), head.weight[...])
        return logits.astype(jnp.float32), cache

    def _run_layers(
        self,
        x: Float[Array, "batch seq hidden"],
        at: Positions,
        cache: Caches | None,
        prefix: Any,
    ) -> tuple[Float[Array, "batch seq hidden"], Caches | None]:
        graph, stacked = nnx.split(self.layers)
        windows = np.array([w or _UNLIMITED for w in self.config.windows], np.int32)
        if is_shallow(self.config):
            caches: list[Any] = []
            for index, window in enumerate(windows):
                layer = nnx.merge(graph, jax.tree.map(lambda leaf, i=index: leaf[i], stacked))
                own: Any = None if cache is None else cache[index]
                shared = None if prefix is None else prefix[index]
                x, added, own = layer(x, at, jnp.int32(window), None, own, shared)
                x = x + added
                caches.append(own)
            return x, None if cache is None else tuple(caches)

        def hop(
            carry: tuple[Array, Any], layer: tuple[nnx.State, Array, Array]
        ) -> tuple[tuple[Array, Any], None]:
            x, cache = carry
            weights, window, number = layer
            x, added, cache = nnx.merge(graph, weights)(x, at, window, number, cache, prefix)
            return (x + added, cache), None

        numbers = jnp.arange(self.config.num_layers)
        (x, cache), _ = jax.lax.scan(hop, (x, cache), (stacked, jnp.asarray(windows), numbers))
        return x, cache

    def _run_path(
        self,
        x: Float[Array, "batch seq hidden"],
        at: Positions,
        cache: Any,
        prefix: Any,
        path: Path,
    ) -> tuple[Float[Array, "batch seq hidden"], Any]:
        """The layers of the pool in the order of a path; the cache has a place for each hop."""
        graph, pool = nnx.split(self.layers)
        windows = jnp.asarray([w or _UNLIMITED for w in self.config.windows], jnp.int32)

        def unfinished(state: tuple[Array, Array, Array, Any]) -> Bool[Array, ""]:
            return state[0] < path.steps

        def hop(state: tuple[Array, Array, Array, Any]) -> tuple[Array, Array, Array, Any]:
            number, stream, branch, cache = state
            index = path.layer[number]
            layer = nnx.merge(graph, jax.tree.map(lambda leaf: leaf[index], pool))
            entering = path.residual[number] * stream.astype(jnp.float32)
            entering += path.branch[number] * branch.astype(jnp.float32)
            entering = entering.astype(x.dtype)
            new, added, cache = layer(entering, at, windows[index], number, cache, prefix)
            counts = number < path.length  # a longer path may run beside this one
            return (
                number + 1,
                jnp.where(counts, new, stream),
                jnp.where(counts, added, branch),
                cache,
            )

        begin = (jnp.int32(0), jnp.zeros_like(x), x, cache)
        _, stream, branch, cache = jax.lax.while_loop(unfinished, hop, begin)
        return stream + branch, cache


def forward(
    config: DecoderConfig,
    params: Params,
    tokens: Tokens,
    start: Int[Array, " batch"],
    cache: Caches | None = None,
    offset: Int[Array, ""] | int = 0,
    *,
    prefix: Caches | None = None,
    last_only: bool = False,
    kernels: bool = False,
    probed: bool = False,
) -> tuple[Float[Array, "batch seq vocab"], Caches | None]:
    """Logits of the next token after each position.

    Slots count from the left end of the padded batch; a sequence's first token stands in slot
    ``start`` and has position 0. Without a cache the slots are those of ``tokens``.

    Args:
        config: The decoder; with a path, its layers are those of the pool.
        params: Its parameter tree, layers stacked, and perhaps a `Path` under ``path``.
        tokens: Token ids, left-padded; what stands in padding does not matter.
        start: First slot of each sequence that holds a token.
        cache: Keys and values of slots before ``offset``; the new ones are written into it.
        offset: Slot of the first of ``tokens``.
        prefix: Cache of one sequence that stands before all of these, and that none holds itself.
        last_only: Compute the logits of the last position alone (``seq`` is then 1).
        kernels: Attention may be computed by a fused kernel, which is not differentiated.
        probed: The parameters hold probes (see `evojax_merge.models.probe`).

    Returns:
        Logits in float32, and the cache with the new slots filled.
    """
    weights = {name: part for name, part in params.items() if name != PATH}
    model = nnx.merge(_graph(config, probed), weights)
    return model(tokens, start, cache, offset, params.get(PATH), prefix, last_only, kernels)


def init_params(config: DecoderConfig, key: PRNGKey) -> Params:
    """Random parameters: normal with σ = 0.02, norms 1, biases 0."""
    return nnx.to_pure_dict(nnx.state(Decoder(config, rngs=nnx.Rngs(params=key))))


@functools.cache
def _graph(config: DecoderConfig, probed: bool) -> nnx.GraphDef:
    probes = set(layout(config).linear_inputs.values()) if probed else ()
    return nnx.graphdef(nnx.eval_shape(lambda: attach(Decoder(config, rngs=nnx.Rngs(0)), probes)))


def _normal(rngs: nnx.Rngs, shape: tuple[int, ...]) -> Float[Array, "..."]:
    return 0.02 * jax.random.normal(rngs.params(), shape)


def _activate(name: str, x: Float[Array, " *shape"]) -> Float[Array, " *shape"]:
    match name:
        case "silu":
            return jax.nn.silu(x)
        case "relu":
            return jax.nn.relu(x)
        case "gelu":
            return jax.nn.gelu(x, approximate=False)
        case _:
            return jax.nn.gelu(x, approximate=True)


def _positions(
    config: DecoderConfig,
    length: int,
    start: Int[Array, " batch"],
    offset: Int[Array, ""] | int,
    dtype: jnp.dtype,
    before: int = 0,
) -> Positions:
    query = offset + jnp.arange(length)
    position = before + jnp.maximum(query[None, :] - start[:, None], 0)
    angle = position[..., None] * rope.frequencies(config, position.max() + 1)
    angle = jnp.concatenate([angle, angle], axis=-1)
    factor = rope.attention_factor(config)
    cos, sin = jnp.cos(angle) * factor, jnp.sin(angle) * factor
    fresh = isinstance(offset, int) and offset == 0
    return Positions(cos.astype(dtype), sin.astype(dtype), position, query, start, fresh)
