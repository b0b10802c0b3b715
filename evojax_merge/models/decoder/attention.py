"""Attention of queries over the keys and values of a padded batch or of a ring of slots."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.models.decoder.decode_kernel import Partial, attend_in_use, join
from evojax_merge.models.decoder.flash import Implementation, attend_fused
from evojax_merge.params.types import Array, Bool, Float, Int

_MASKED = -0.7 * float(np.finfo(np.float32).max)
UNLIMITED = np.iinfo(np.int32).max // 2
"""The window of a layer that attends to all tokens."""

MANY = 128
"""From this many queries on a processor computes attention head by head."""


class Rotation(NamedTuple):
    """Cosine and sine of the angles by which the channels of queries and keys are turned."""

    cos: Float[Array, "batch seq dims"]
    sin: Float[Array, "batch seq dims"]


class Branches(NamedTuple):
    """Where several continuations of each sequence stand in one cache, as a tree.

    The tokens of branches stand in slots of their own behind those of the prompt, which is there
    once. No slot is moved when branches end and others part.

    Attributes:
        slot: The slot of the first of the new tokens, which stand side by side, one of each branch.
        times: The time of the token in each slot.
        lineage: Which slots hold tokens of each branch, its own new one included.
    """

    slot: Int[Array, ""]
    times: Int[np.ndarray, " slots"]
    lineage: Bool[Array, "batch branches slots"]

    @property
    def length(self) -> int:
        """The number of tokens, padding included, of the longest sequence that has room."""
        return int(self.times.max()) + 1


class Positions(NamedTuple):
    """What attention needs to know of where the queries stand. All layers share it.

    Times count tokens of the batch, padding included. All rows share them.

    Attributes:
        rotation: The rotation of each query's position.
        position: How many tokens stand before each query in its own sequence, a shared prefix
            included.
        query: The time of each query.
        start: The time of each row's first token, which has position 0.
        fresh: Whether nothing came before these queries, so that they need no look into the cache.
        kernel: The kernel that computes attention of fresh queries. With None plain products do.
        in_use: Whether there is one query a row, for which a kernel may read only the slots in use.
        local_rotation: The rotation of layers with a window, or None where it is the same.
        branches: Where the branches stand whose new tokens the queries are, all of one time. With
            None queries are tokens one after another.
    """

    rotation: Rotation
    position: Int[Array, "batch seq"]
    query: Int[Array, " seq"]
    start: Int[Array, " batch"]
    fresh: bool
    kernel: Implementation | None = None
    local_rotation: Rotation | None = None
    branches: Branches | None = None
    in_use: bool = False

    @property
    def slot(self) -> Int[Array, ""]:
        """The time, or with branches the slot, from which the new tokens stand in a cache."""
        return self.query[0] if self.branches is None else self.branches.slot

    @property
    def last(self) -> "Positions":
        """Where the last query of each row stands. Plain products compute its attention."""
        own = (self.rotation, self.position, self.local_rotation)
        rotation, position, local = jax.tree.map(lambda leaf: leaf[:, -1:], own)
        return self._replace(
            rotation=rotation,
            position=position,
            query=self.query[-1:],
            kernel=None,
            local_rotation=local,
        )

    def times(self, slots: int) -> Int[Array, " slots"]:
        """Return the time of the token in each slot of a cache."""
        if self.branches is None:
            return slot_times(self.query[-1], slots)
        return jnp.asarray(self.branches.times, jnp.int32)

    def rotation_of(self, window: Int[Array, ""]) -> Rotation:
        """Return the rotation of a layer by its window."""
        if self.local_rotation is None:
            return self.rotation
        pairs = zip(self.local_rotation, self.rotation, strict=True)
        return Rotation(*(jnp.where(window < UNLIMITED, own, other) for own, other in pairs))


def slot_times(last: Int[Array, ""], slots: int) -> Int[Array, " slots"]:
    """Return the time of each slot's token once ``last`` is written, below 0 for empty slots."""
    return last - (last - jnp.arange(slots)) % slots


def visible(
    at: Positions, times: Int[Array, " slots"], window: Int[Array, ""]
) -> Bool[Array, "batch seq slots"]:
    """Tell which slots each query sees.

    It sees those that are not later, are inside its window, and are neither padding nor of another
    sequence or branch.
    """
    distance = at.query[:, None] - times[None, :]
    causal = (distance >= 0) & (distance < window)
    seen = causal[None] & (times[None, None, :] >= at.start[:, None, None])
    return seen if at.branches is None else seen & at.branches.lineage


class Shared(NamedTuple):
    """Keys and values that stand once for all rows, and which of them each query sees."""

    keys: Float[Array, "kv_heads head_dim shared"]
    values: Float[Array, "kv_heads shared head_dim"]
    seen: Bool[Array, "batch seq shared"]


def shared_part(
    keys: Float[Array, "1 kv_heads head_dim shared"],
    values: Float[Array, "1 kv_heads shared head_dim"],
    at: Positions,
    window: Int[Array, ""],
) -> Shared:
    """Make the shared part of a prefix of all sequences, whose positions count from 0."""
    seen = at.position[..., None] - jnp.arange(keys.shape[-1]) < window
    return Shared(keys[0], values[0], seen)


def attend(
    q: Float[Array, "batch seq heads head_dim"],
    k: Float[Array, "batch kv_heads head_dim slots"],
    v: Float[Array, "batch kv_heads slots head_dim"],
    seen: Bool[Array, "batch seq slots"],
    shared: Shared | None = None,
    kernel: Implementation | None = None,
    scale: float | None = None,
    soft_cap: float | None = None,
) -> Float[Array, "batch seq heads head_dim"]:
    """Compute softmax(q kᵀ · scale) v over what is seen, with the softmax in float32.

    The scale is 1 / √head_dim unless another is given. With a soft cap c, what stands in the
    softmax is c · tanh(q kᵀ · scale / c). No kernel computes that.

    What all rows share is read once, not once for each row. A kernel gets a copy for each row, as
    it can read nothing else.
    """
    if kernel is not None:
        if soft_cap is not None:
            raise ValueError("a fused kernel has no soft cap")
        if shared is not None:
            keys = jnp.broadcast_to(shared.keys, (len(k), *shared.keys.shape))
            values = jnp.broadcast_to(shared.values, (len(v), *shared.values.shape))
            k = jnp.concatenate([keys, k], axis=-1)
            v = jnp.concatenate([values, v], axis=-2)
            seen = jnp.concatenate([shared.seen, seen], axis=-1)
        return attend_fused(kernel, q, k, v, seen, scale)
    batch, seq, heads, width = q.shape
    q = q.reshape(batch, seq, k.shape[1], -1, width).transpose(0, 2, 3, 1, 4)
    scale = width**-0.5 if scale is None else scale
    if shared is None:
        mixed = _mixed(q, k, v, seen, scale, soft_cap)
    else:
        scores = _masked(jnp.einsum("bkgqd,bkds->bkgqs", q, k) * scale, seen, soft_cap)
        before = jnp.einsum("bkgqd,kds->bkgqs", q, shared.keys) * scale
        before = _masked(before, shared.seen, soft_cap)
        weights = jax.nn.softmax(jnp.concatenate([before, scores], axis=-1), axis=-1)
        before, own = jnp.split(weights.astype(v.dtype), [before.shape[-1]], axis=-1)
        mixed = jnp.einsum("bkgqs,bksd->bkgqd", own, v)
        mixed += jnp.einsum("bkgqs,ksd->bkgqd", before, shared.values)
    return mixed.transpose(0, 3, 1, 2, 4).reshape(batch, seq, heads, width)


def attend_newest(
    q: Float[Array, "batch 1 heads head_dim"],
    k: Float[Array, "batch kv_heads head_dim slots"],
    v: Float[Array, "batch kv_heads slots head_dim"],
    at: Positions,
    window: Int[Array, ""],
    shared: Shared | None,
    scale: float | None,
    soft_cap: float | None,
) -> Float[Array, "batch 1 heads head_dim"]:
    """Compute what `attend` does for the newest token of each row, by what the platform has.

    An NVIDIA GPU has a kernel that reads the slots in use alone (see `decode_kernel`).
    """

    def plain(q: Array, k: Array, v: Array) -> Array:
        seen = visible(at, at.times(k.shape[-1]), window)
        return attend(q, k, v, seen, shared, None, scale, soft_cap)

    def by_kernel(q: Array, k: Array, v: Array) -> Array:
        return attend_by_kernel(q, k, v, at, window, shared, scale, soft_cap)

    return jax.lax.platform_dependent(q, k, v, cuda=by_kernel, default=plain)


def attend_by_kernel(
    q: Float[Array, "batch 1 heads head_dim"],
    k: Float[Array, "batch kv_heads head_dim slots"],
    v: Float[Array, "batch kv_heads slots head_dim"],
    at: Positions,
    window: Int[Array, ""],
    shared: Shared | None,
    scale: float | None,
    soft_cap: float | None,
    interpret: bool = False,
) -> Float[Array, "batch 1 heads head_dim"]:
    """Compute what `attend` does for the newest token of each row, from the slots in use alone.

    What all rows share is mixed by plain products, and joined.
    """
    batch, _, heads, width = q.shape
    scale = width**-0.5 if scale is None else scale
    queries = q.reshape(batch, k.shape[1], -1, width)
    last = at.query[-1]
    first = jnp.maximum(at.start, last - window + 1)
    found = attend_in_use(queries, k, v, first, last, scale, soft_cap, interpret=interpret)
    if shared is not None:
        products = jnp.einsum("bkgd,kds->bkgs", queries, shared.keys) * scale
        scores = _masked(products[..., None, :], shared.seen, soft_cap)[..., 0, :]
        greatest = jnp.max(scores, axis=-1)
        weights = jnp.where(shared.seen[:, None], jnp.exp(scores - greatest[..., None]), 0.0)
        mixed = jnp.einsum("bkgs,ksd->bkgd", weights.astype(v.dtype), shared.values)
        before = Partial(mixed.astype(jnp.float32), greatest, jnp.sum(weights, axis=-1))
        found = join(jax.tree.map(lambda *parts: jnp.stack(parts), before, found))
    return found.normalised().astype(q.dtype).reshape(batch, 1, heads, width)


def capped(x: Float[Array, " *shape"], cap: float) -> Float[Array, " *shape"]:
    """Compute cap · tanh(x / cap)."""
    return cap * jnp.tanh(x / cap)


def _mixed(
    q: Float[Array, "batch kv_heads group seq head_dim"],
    k: Float[Array, "batch kv_heads head_dim slots"],
    v: Float[Array, "batch kv_heads slots head_dim"],
    seen: Bool[Array, "batch seq slots"],
    scale: float,
    soft_cap: float | None,
) -> Float[Array, "batch kv_heads group seq head_dim"]:
    """Mix values for all heads at once, or on a processor, for many queries, head by head.

    The scores of a head stay in a processor's cache. Those of all heads are written to memory and
    read again several times, which takes longer than the products.
    """

    def at_once(q: Array, k: Array, v: Array, seen: Array) -> Array:
        scores = _masked(jnp.einsum("bkgqd,bkds->bkgqs", q, k) * scale, seen, soft_cap)
        weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
        return jnp.einsum("bkgqs,bksd->bkgqd", weights, v)

    def head_by_head(q: Array, k: Array, v: Array, seen: Array) -> Array:
        batch, heads = k.shape[:2]

        def of_one(one: tuple[Array, Array, Array, Array]) -> Array:
            row, q, k, v = one
            scores = _masked(
                jnp.einsum("gqd,ds->gqs", q, k)[None, None] * scale, seen[row][None], soft_cap
            )
            weights = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))[0, 0]
            total = jnp.sum(weights, axis=-1, keepdims=True)
            mixed = jnp.einsum(
                "gqs,sd->gqd", weights.astype(v.dtype), v, preferred_element_type=jnp.float32
            )
            return (mixed / total).astype(v.dtype)

        each = [part.reshape(batch * heads, *part.shape[2:]) for part in (q, k, v)]
        rows = jnp.repeat(jnp.arange(batch), heads)
        return jax.lax.map(of_one, (rows, *each)).reshape(q.shape)

    if q.shape[-2] < MANY:
        return at_once(q, k, v, seen)
    return jax.lax.platform_dependent(q, k, v, seen, cpu=head_by_head, default=at_once)


def _masked(
    scores: Float[Array, "batch kv_heads group seq slots"],
    seen: Bool[Array, "batch seq slots"],
    soft_cap: float | None,
) -> Float[Array, "batch kv_heads group seq slots"]:
    by_head = seen[:, None, None]
    wide = scores.astype(jnp.float32)
    wide = wide if soft_cap is None else capped(wide, soft_cap)
    return jnp.where(by_head, wide, _MASKED)
