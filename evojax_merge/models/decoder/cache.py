"""The keys and values of the tokens seen so far."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.params.types import Array, Float, Int

WRITTEN_OUT = 8
"""The greatest number of layers that are written out one by one."""


class Cache(NamedTuple):
    """Keys and values in a ring of slots. The token of time t, or padding, stands in t mod slots.

    A cache is that of one layer, or of all of them stacked. Its axes stand as the products of
    attention read them, so that no decode step transposes a cache.
    """

    keys: Float[Array, "*layers batch kv_heads head_dim slots"]
    values: Float[Array, "*layers batch kv_heads slots head_dim"]

    def write(
        self,
        keys: Float[Array, "batch kv_heads head_dim seq"],
        values: Float[Array, "batch kv_heads seq head_dim"],
        time: Int[Array, ""],
        layer: Int[Array, ""] | None,
    ) -> "Cache":
        """Return the cache with more tokens of a layer, where None stands for the only one.

        The tokens stand from ``time`` on, and must not cross the end of the ring.
        """
        where = () if layer is None else (layer,)
        if layer is not None:
            keys, values = keys[None], values[None]
        slot = time % self.keys.shape[-1]
        return Cache(
            jax.lax.dynamic_update_slice(self.keys, keys, (*where, 0, 0, 0, slot)),
            jax.lax.dynamic_update_slice(self.values, values, (*where, 0, 0, slot, 0)),
        )

    def of(self, layer: Int[Array, ""] | None) -> tuple[Array, Array]:
        """Return the keys and values of a layer, where None stands for the only one."""
        return (self.keys, self.values) if layer is None else (self.keys[layer], self.values[layer])

    def admit(self, prompts: "Cache", rows: Int[Array, " some"], time: Int[Array, ""]) -> "Cache":
        """Return the cache with other sequences in some rows.

        Args:
            prompts: The caches of those sequences, with at most as many slots as this one.
            rows: The rows that the sequences go to. A row out of range is dropped.
            time: The time of the first slot of ``prompts``.
        """

        def turned(leaf: Array, axis: int, slots: int) -> Array:
            return jnp.roll(_longer(leaf, axis, slots - leaf.shape[axis]), time % slots, axis)

        slots = self.keys.shape[-1]
        where = (slice(None),) * (self.keys.ndim - 4)
        return Cache(
            self.keys.at[(*where, rows)].set(turned(prompts.keys, -1, slots), mode="drop"),
            self.values.at[(*where, rows)].set(turned(prompts.values, -2, slots), mode="drop"),
        )

    def with_room(self, slots: int) -> "Cache":
        """Return the cache with more, empty slots behind those that it has.

        Prompts begin a cache so. Programs for a TPU that write them into an empty one take up to
        twice the memory of the cache.
        """
        return Cache(_longer(self.keys, -1, slots), _longer(self.values, -2, slots))


Caches = Cache | tuple[Cache, ...]
"""The cache of a decoder: one for each layer, or a stacked one where layers are scanned."""


def init_cache(
    config: DecoderConfig,
    batch: int,
    slots: int,
    dtype: jnp.dtype,
    hops: int | None = None,
    unrolled: bool = False,
) -> Caches:
    """Make an empty cache for ``batch`` sequences of ``slots`` tokens, padding included.

    Args:
        config: The decoder.
        batch: The number of sequences.
        slots: The number of slots of each sequence.
        dtype: The type of keys and values.
        hops: The number of hops of the longest path, where layers are run along a path.
        unrolled: Whether the parameters have each layer in buffers of its own.
    """
    apart = hops is None and (unrolled or is_shallow(config))
    rows = (batch, config.num_kv_heads)
    lead = rows if apart else (hops or config.num_layers, *rows)
    keys = jnp.zeros((*lead, config.head_dim, slots), dtype)
    values = jnp.zeros((*lead, slots, config.head_dim), dtype)
    return (Cache(keys, values),) * config.num_layers if apart else Cache(keys, values)


def admit(caches: Caches, prompts: Any, rows: Int[Array, " some"], time: Int[Array, ""]) -> Caches:
    """Apply `Cache.admit` to every layer."""
    if isinstance(caches, Cache):
        return caches.admit(prompts, rows, time)
    return tuple(own.admit(other, rows, time) for own, other in zip(caches, prompts, strict=True))


def with_room(caches: Caches, slots: int) -> Caches:
    """Apply `Cache.with_room` to every layer."""
    if isinstance(caches, Cache):
        return caches.with_room(slots)
    return tuple(own.with_room(slots) for own in caches)


def slots_of(caches: Caches | None) -> int:
    """Count the slots of a cache. Without a cache there are 0."""
    if caches is None:
        return 0
    first = caches if isinstance(caches, Cache) else caches[0]
    return first.keys.shape[-1]


def is_shallow(config: DecoderConfig) -> bool:
    """Tell whether stacked layers are written out one by one instead of scanned.

    A scan takes each layer's cache out of the stacked one at every token, which on small models
    costs more than the layer. A written-out layer reads its cache where it stands, but compile
    time then grows with depth. Layers that are not stacked are always written out.
    """
    return config.num_layers <= WRITTEN_OUT


def _longer(leaf: Array, axis: int, slots: int) -> Array:
    """Return an array with so many zeros behind what stands on an axis."""
    padding = [(0, 0)] * leaf.ndim
    padding[axis] = (0, slots)
    return jnp.pad(leaf, padding)
