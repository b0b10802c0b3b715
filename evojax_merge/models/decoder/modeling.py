"""One decoder for all the types in the table `variants`.

Layers that have buffers of their own are written out one after another, so that each is read where
it stands. Layers that are stacked on a leading axis are run by ``lax.scan``, or in the order that a
path in the parameters gives. What differs between layers (the sliding window, and with it RoPE) is
per-layer data. Modules are Flax NNX; they leave this file and `loglikelihood` only as pure
functions of a parameter tree.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from evojax_merge.models.decoder import decode_kernel, rope
from evojax_merge.models.decoder.attention import UNLIMITED, Branches, Positions, Rotation, capped
from evojax_merge.models.decoder.cache import Caches, is_shallow, slots_of
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.flash import implementation_for
from evojax_merge.models.decoder.layers import DecoderLayer, Embedding, Linear, RMSNorm
from evojax_merge.models.decoder.params import STACK, is_unrolled, layout
from evojax_merge.models.decoder.path import PATH, Path
from evojax_merge.models.probe import attach, observed
from evojax_merge.params.loops import HOPS, while_loop
from evojax_merge.params.types import Array, Bool, Float, Int, Params, PRNGKey, Tokens


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
        self.norm = RMSNorm(config.hidden_size, config)
        if not config.tie_word_embeddings:
            self.lm_head = Linear(config.hidden_size, config.vocab_size, False, rngs=rngs)

    def __call__(
        self,
        tokens: Tokens,
        start: Int[Array, " batch"],
        cache: Caches | None = None,
        offset: Int[Array, ""] | int = 0,
        *,
        path: Path | None = None,
        prefix: Caches | None = None,
        last_only: bool = False,
        kernels: bool = False,
        features: Float[Array, "batch slots hidden"] | None = None,
        image_token_id: int | None = None,
        branches: Branches | None = None,
        shift: Int[Array, "batch slots axes"] | None = None,
        layers: tuple[Params, ...] | None = None,
    ) -> tuple[Float[Array, "batch read hidden"], Caches | None]:
        """Return what the head reads, and the cache (see `forward`)."""
        if cache is not None or prefix is not None:
            own = slots_of(cache) if branches is None else branches.length
            rope.check_lengths(self.config, slots_of(prefix) + (own or tokens.shape[1]))
        x, place = self.embed_tokens(tokens), None
        if features is not None:
            inside = offset + jnp.arange(tokens.shape[1]) >= start[:, None]
            place = inside & (tokens == image_token_id)
            x = _with_features(x, place, features)
        further = None if shift is None else rope.token_shift(shift, place)
        before, length = slots_of(prefix), tokens.shape[1]
        at = _positions(self.config, length, start, offset, x.dtype, before, branches, further)
        if kernels and at.fresh and self.config.attention_soft_cap is None:
            at = at._replace(kernel=implementation_for(x.dtype, self.config.head_dim))
        if kernels and not at.fresh and length == 1 and branches is None:
            at = at._replace(in_use=decode_kernel.is_computed(x.dtype, self.config.head_dim))
        if path is None:
            x, cache = self._run_layers(x, at, cache, prefix, layers, last_only)
        else:
            x, cache = self._run_path(x, at, cache, prefix, path)
        return self.norm(x[:, -1:] if last_only else x), cache

    def logits(self, x: Float[Array, "batch read hidden"]) -> Float[Array, "batch read vocab"]:
        """Return the logits of the next token in float32."""
        head = self.embed_tokens if self.config.tie_word_embeddings else self.lm_head
        logits = jnp.einsum("bsh,vh->bsv", observed(head, x), head.weight[...])
        logits = logits.astype(jnp.float32)
        cap = self.config.logit_soft_cap
        return logits if cap is None else capped(logits, cap)

    def _run_layers(
        self,
        x: Float[Array, "batch seq hidden"],
        at: Positions,
        cache: Caches | None,
        prefix: Any,
        layers: tuple[Params, ...] | None,
        last_only: bool,
    ) -> tuple[Float[Array, "batch some hidden"], Caches | None]:
        """Run all layers. What is written out gives the last tokens alone where these are read."""
        if layers is not None:
            graph = _layer_graph(self.config)
            return self._run_apart(x, at, cache, prefix, graph, layers, last_only)
        graph, stacked = nnx.split(self.layers)
        count = self.config.num_layers
        if is_shallow(self.config):
            cut = [jax.tree.map(lambda leaf, i=index: leaf[i], stacked) for index in range(count)]
            return self._run_apart(x, at, cache, prefix, graph, cut, last_only)
        windows = jnp.asarray([w or UNLIMITED for w in self.config.windows], jnp.int32)

        def hop(
            carry: tuple[Array, Any], layer: tuple[nnx.State, Array, Array]
        ) -> tuple[tuple[Array, Any], None]:
            x, cache = carry
            weights, window, number = layer
            x, added, cache = nnx.merge(graph, weights)(x, at, window, number, cache, prefix)
            return (x + added, cache), None

        (x, cache), _ = jax.lax.scan(hop, (x, cache), (stacked, windows, jnp.arange(count)))
        return x, cache

    def _run_apart(
        self,
        x: Float[Array, "batch seq hidden"],
        at: Positions,
        cache: Any,
        prefix: Any,
        graph: nnx.GraphDef,
        layers: Sequence[Any],
        last_only: bool,
    ) -> tuple[Float[Array, "batch read hidden"], Caches | None]:
        """Run layers that are written out one after another. Each has a cache of its own.

        Where only the last tokens are read, the last layer has keys and values of all tokens, and
        computes all else for these.
        """
        caches: list[Any] = []
        for index, window in enumerate(self.config.windows):
            own: Any = None if cache is None else cache[index]
            shared = None if prefix is None else prefix[index]
            layer = nnx.merge(graph, layers[index])
            alone = last_only and index == self.config.num_layers - 1
            x, added, own = layer(x, at, jnp.int32(window or UNLIMITED), None, own, shared, alone)
            x = x + added
            caches.append(own)
        return x, None if cache is None else tuple(caches)

    def _run_path(
        self,
        x: Float[Array, "batch seq hidden"],
        at: Positions,
        cache: Any,
        prefix: Any,
        path: Path,
    ) -> tuple[Float[Array, "batch seq hidden"], Any]:
        """Run the layers of the pool in the order of a path. The cache has a place for each hop."""
        graph, pool = nnx.split(self.layers)
        windows = jnp.asarray([w or UNLIMITED for w in self.config.windows], jnp.int32)

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
        _, stream, branch, cache = while_loop(HOPS, unfinished, hop, begin)
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
    features: Float[Array, "batch slots hidden"] | None = None,
    image_token_id: int | None = None,
    branches: Branches | None = None,
    shift: Int[Array, "batch slots axes"] | None = None,
) -> tuple[Float[Array, "batch read vocab"], Caches | None]:
    """Compute the logits of the next token after each position.

    Slots count from the left end of the padded batch. A sequence's first token stands in slot
    ``start`` and has position 0. Without a cache the slots are those of ``tokens``.

    Args:
        config: The decoder. With a path, its layers are those of the pool.
        params: The parameter tree of the decoder, with stacked layers or unrolled ones (see
            `Layout.unroll`). With stacked ones there may be a `Path` under ``path``.
        tokens: Token ids, left-padded. What stands in padding does not matter.
        start: The first slot of each sequence that holds a token.
        cache: The keys and values of slots before ``offset``. The new ones are written into it.
        offset: The slot of the first of ``tokens``.
        prefix: The cache of one sequence that stands before all of these, and that none holds
            itself.
        last_only: Whether only the logits of the last position are computed (``read`` is then 1).
        kernels: Whether a fused kernel may compute attention. It cannot be differentiated.
        probed: Whether the parameters hold probes (see `evojax_merge.models.probe`).
        features: What stands in the place of embeddings: the first rows at the first of a
            sequence's picture tokens, one after another. A sequence has no more such tokens than
            rows.
        image_token_id: The picture token. Without features it is a token like any other.
        branches: Where in the cache the branches of each sequence stand, of which ``tokens`` are
            the new ones, all of the time ``offset``. With None they are tokens one after another.
        shift: How much further the position of each row of features is than its place (see
            `rope.token_shift`), for RoPE with sections. Tokens that are read without features stand
            after them all. With None positions are places.

    Returns:
        The logits in float32, and the cache with the new slots filled.
    """
    model, read, cache = read_through(
        config,
        params,
        tokens,
        start,
        cache,
        offset,
        probed=probed,
        prefix=prefix,
        last_only=last_only,
        kernels=kernels,
        features=features,
        image_token_id=image_token_id,
        branches=branches,
        shift=shift,
    )
    return model.logits(read), cache


def init_params(config: DecoderConfig, key: PRNGKey) -> Params:
    """Draw random parameters: normal with σ = 0.02, norms that multiply by 1, biases 0."""
    return nnx.to_pure_dict(nnx.state(Decoder(config, rngs=nnx.Rngs(params=key))))


def read_through(
    config: DecoderConfig,
    params: Params,
    *tokens: Any,
    probed: bool = False,
    **shown: Any,
) -> tuple[Decoder, Float[Array, "batch read hidden"], Caches | None]:
    """Return the decoder with its parameters, what its head reads of tokens, and the cache."""
    layers = params[STACK] if is_unrolled(params) else None
    apart = {PATH} if layers is None else {PATH, STACK}
    weights = {name: part for name, part in params.items() if name not in apart}
    model: Decoder = nnx.merge(_graph(config, probed, layers is None), weights)
    read, cache = model(*tokens, path=params.get(PATH), layers=layers, **shown)
    return model, read, cache


@functools.cache
def _graph(config: DecoderConfig, probed: bool, stacked: bool) -> nnx.GraphDef:
    """Return the decoder, with its stacked layers or without layers."""
    probes = set(layout(config).linear_inputs.values()) if probed else ()
    model = nnx.eval_shape(lambda: attach(Decoder(config, rngs=nnx.Rngs(0)), probes))
    if not stacked:
        delattr(model, STACK)
    return nnx.graphdef(model)


@functools.cache
def _layer_graph(config: DecoderConfig) -> nnx.GraphDef:
    return nnx.graphdef(nnx.eval_shape(lambda: DecoderLayer(config, rngs=nnx.Rngs(0))))


def _with_features(
    x: Float[Array, "batch seq hidden"],
    place: Bool[Array, "batch seq"],
    features: Float[Array, "batch slots hidden"],
) -> Float[Array, "batch seq hidden"]:
    """Put the rows of features, in order, at the marked places."""
    row = jnp.maximum(jnp.cumsum(place, axis=-1) - 1, 0)
    rows = jnp.take_along_axis(features.astype(x.dtype), row[..., None], axis=1)
    return jnp.where(place[..., None], rows, x)


def _positions(
    config: DecoderConfig,
    length: int,
    start: Int[Array, " batch"],
    offset: Int[Array, ""] | int,
    dtype: jnp.dtype,
    before: int = 0,
    branches: Branches | None = None,
    shift: Int[Array, "batch read axes"] | None = None,
) -> Positions:
    query = offset + jnp.arange(length) if branches is None else jnp.full(length, offset)
    position = before + jnp.maximum(query[None, :] - start[:, None], 0)
    angles = rope.cosine_and_sine(config, config.rope, position, shift)
    turned_in = jnp.dtype(jnp.float32) if config.rope_float32 else dtype
    rotation = Rotation(*(one.astype(turned_in) for one in angles))
    local = None
    if config.local_rope is not None:
        angles = rope.cosine_and_sine(config, config.local_rope, position)
        local = Rotation(*(one.astype(turned_in) for one in angles))
    fresh = isinstance(offset, int) and offset == 0
    return Positions(rotation, position, query, start, fresh, None, local, branches)
