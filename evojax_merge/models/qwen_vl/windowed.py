"""Attention of patches within their windows, or within their pictures."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.models.qwen_vl.config import QwenVisionConfig
from evojax_merge.params.types import Array, Bool, Float, Int

_MASKED = -0.7 * float(np.finfo(np.float32).max)


class Place(NamedTuple):
    """Where patches stand, block by block of those that become one feature.

    Attributes:
        cos: The cosine of the angles by which the channels of queries and keys are turned.
        sin: The sine of these angles.
        real: Which patches are there. The others fill up their windows.
        picture: The number of the picture that each window is of.
    """

    cos: Float[Array, "windows patches head_dim"]
    sin: Float[Array, "windows patches head_dim"]
    real: Bool[Array, "windows patches"]
    picture: Int[Array, " windows"]


def place_of(config: QwenVisionConfig, where: Int[Array, "windows 4"]) -> Place:
    """Compute where the patches of windows stand.

    A half of the pairs of channels are turned by a patch's row in its picture, the other half by
    its column.

    Args:
        config: The tower.
        where: Where each window stands in its picture (see `pictures.windows`). A window at the
            upper left corner begins a new picture, so that those that fill up are by themselves.
    """
    inside = jnp.asarray(_inside(config))
    position = inside + where[:, None, :2]
    width = config.hidden_size // config.num_heads // 2
    exponents = np.arange(0, width, 2, dtype=np.float32) / width
    inverse = (1.0 / config.theta**exponents).astype(np.float32)
    angle = (position[..., None] * inverse).reshape(*position.shape[:2], width)
    angle = jnp.concatenate([angle, angle], axis=-1)
    real = (inside < where[:, None, 2:]).all(-1)
    picture = jnp.cumsum((where[:, :2] == 0).all(-1))
    return Place(jnp.cos(angle), jnp.sin(angle), real, picture)


def attend(
    q: Float[Array, "windows patches heads head_dim"],
    k: Float[Array, "windows patches heads head_dim"],
    v: Float[Array, "windows patches heads head_dim"],
    place: Place,
    whole: Any,
) -> Float[Array, "windows patches heads head_dim"]:
    """Compute softmax(q kᵀ / √head_dim) v, with the softmax in float32.

    Args:
        q: The queries.
        k: The keys.
        v: The values.
        place: Where the patches stand.
        whole: Whether patches attend to all of their picture, one truth for all.
    """

    def within_pictures() -> Array:
        keys, values, real = (one.reshape(-1, *one.shape[2:]) for one in (k, v, place.real))
        owner = jnp.repeat(place.picture, k.shape[1])

        def window(own: tuple[Array, Array]) -> Array:
            queries, picture = own
            return _mixed(queries, keys, values, real & (owner == picture))

        return jax.lax.map(window, (q, place.picture))

    def within_windows() -> Array:
        return jax.vmap(_mixed)(q, k, v, place.real)

    mixed: Array = jax.lax.cond(whole, within_pictures, within_windows)
    return mixed


def _mixed(
    q: Float[Array, "patches heads head_dim"],
    k: Float[Array, "seen heads head_dim"],
    v: Float[Array, "seen heads head_dim"],
    real: Bool[Array, " seen"],
) -> Float[Array, "patches heads head_dim"]:
    scores = jnp.einsum("qhd,khd->hqk", q, k).astype(jnp.float32) * q.shape[-1] ** -0.5
    weights = jax.nn.softmax(jnp.where(real, scores, _MASKED), axis=-1).astype(v.dtype)
    return jnp.einsum("hqk,khd->qhd", weights, v)


def _inside(config: QwenVisionConfig) -> Int[np.ndarray, "patches 2"]:
    """Return the row and the column of each patch in its window, block by block."""
    rows, columns = np.meshgrid(np.arange(config.side), np.arange(config.side), indexing="ij")
    blocks = (config.window, config.merge)
    both = np.stack([rows, columns], -1).reshape(*blocks, *blocks, 2)
    return both.transpose(0, 2, 1, 3, 4).reshape(-1, 2).astype(np.int32)
