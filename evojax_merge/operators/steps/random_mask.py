"""Addressed randomness: whether an element is kept depends on where it is, not on when it is drawn.

The address of an element is (seed, leaf path, layer, source, element index). The same address
gives the same bits under jit, vmap, any chunking, any mesh and on any machine, so a recipe
reproduces its checkpoint. A tensor (a layer of a stacked leaf) has at most 2**32 elements.

The hash is the two-round multiply-xorshift finaliser of Ettinger's "Prospecting for hash
functions" (https://github.com/skeeto/hash-prospector, 2018) with the constants 0x21f0aaad and
0xd35a2d97 found there later. It has five vector instructions a round, no table and no state.
Elements are keyed by 64 bits, one half before each round, so that two sources are no permutation of
each other.
"""

import zlib
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt32

from evojax_merge.operators.base import (
    GOLDEN,
    PROBABILITY_BITS,
    LeafKey,
    element_index,
    spread,
)
from evojax_merge.params.types import Array, Bool, Float

SECOND_HALF = np.uint32(0x85EBCA6B)


def leaf_key(seed: int | UInt32[Array, ""], path: str) -> LeafKey:
    """The random address of the leaf at ``path``.

    Raises:
        ValueError: A Python ``seed`` is outside 0 .. 2**32 - 1.
    """
    if isinstance(seed, int) and not 0 <= seed < 2**32:
        raise ValueError(f"seed {seed} of a merge: use an integer from 0 to 2**32 - 1")
    return fold(jnp.asarray(seed, jnp.uint32), np.uint32(zlib.crc32(path.encode())))


def layer_keys(key: LeafKey, layers: int) -> UInt32[Array, " layers"]:
    """The address of each layer of a stacked leaf."""
    return fold(key, jnp.arange(layers, dtype=jnp.uint32))


def fold(key: UInt32[Array, "..."], number: Any) -> UInt32[Array, "..."]:
    """Mix a number into a key; different numbers give different keys."""
    return _finalise(_finalise(key + np.uint32(GOLDEN)) ^ number)


def keep(
    key: LeafKey,
    source: int,
    shape: tuple[int, ...],
    density: Float[Array, "..."],
) -> Bool[Array, "..."]:
    """Keep each element with probability ``density``: u(address) < density.

    Masks nest: what a density keeps, every greater density keeps. A density of 0 keeps none, and 1
    keeps all.

    Args:
        key: A scalar, or one key per layer for a ``shape`` whose first axis counts layers.
        source: The index of the source among the sources.
        shape: The shape of the leaf.
        density: One density for all layers, or one for each.
    """
    # u < density <=> bits < ceil(density x 2**24): an integer comparison, and exact.
    limit = jnp.ceil(jnp.clip(density, 0.0, 1.0) * 2.0**PROBABILITY_BITS).astype(jnp.uint32)
    return draw(key, source, shape) < spread(limit, len(shape))


def draw(key: LeafKey, source: int, shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """A uniform integer below 2**`PROBABILITY_BITS` for each element, by its address."""
    ndim = len(shape)
    first = fold(key, np.uint32(source))
    second = fold(key ^ SECOND_HALF, np.uint32(source))
    index = element_index(shape, layered=key.ndim == 1)
    return _finalise(index ^ spread(first, ndim), spread(second, ndim)) >> (32 - PROBABILITY_BITS)


def _finalise(x: UInt32[Array, "..."], inner: Any = None) -> UInt32[Array, "..."]:
    x = x ^ (x >> 16)
    x = x * np.uint32(0x21F0AAAD)
    x = x ^ (x >> 15)
    x = x if inner is None else x + inner
    x = x * np.uint32(0xD35A2D97)
    return x ^ (x >> 15)
