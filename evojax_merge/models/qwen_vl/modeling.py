"""A language model that sees pictures of any size (Qwen2.5-VL, arXiv 2502.13923).

A vision transformer reads the patches of a picture. In most of its layers a patch attends to those
of its window, in some to all of its picture. Positions down and across turn queries and keys. A
merger makes a feature of each block of patches, and the decoder reads the features in the place of
embeddings.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.models.activations import activate
from evojax_merge.models.decoder import modeling as decoder
from evojax_merge.models.decoder import rope
from evojax_merge.models.decoder.cache import Caches
from evojax_merge.models.qwen_vl.config import QwenVisionConfig, QwenVLConfig
from evojax_merge.models.qwen_vl.params import projector_shapes, tower_shapes
from evojax_merge.models.qwen_vl.windowed import Place, attend, place_of
from evojax_merge.models.request import Pixels
from evojax_merge.models.seeing.config import LANGUAGE, PROJECTOR, TOWER
from evojax_merge.params.tree import unflatten
from evojax_merge.params.types import Array, Float, Int, Params, PRNGKey, Tokens, UInt8

_EPSILON = 1e-6
"""The epsilon of all norms of a tower and a merger, which no configuration changes."""


def features(
    config: QwenVisionConfig,
    params: Params,
    pixels: Pixels,
    tiles: UInt8[Array, "windows channels height width"],
    where: Int[Array, "windows 4"],
) -> Float[Array, "windows positions outputs"]:
    """Compute the features of the windows of some pictures, one picture after another.

    Args:
        config: The tower.
        params: The parameter tree, of which ``vision_tower`` and ``projector`` are read.
        pixels: The numbers that turn pixels into what the tower reads.
        tiles: The pixels of the windows, with numbers from 0 to 255.
        where: Where each window stands in its picture (see `pictures.windows`).
    """
    place = place_of(config, where)
    x = _embedded(config, params[TOWER]["patch_embed"]["weight"], pixels, tiles)
    full = np.isin(np.arange(config.num_layers), config.full)

    def layer(x: Array, own: tuple[Params, Array]) -> tuple[Array, None]:
        weights, whole = own
        x = x + _attention(config, weights["attn"], _norm(weights["norm1"], x), place, whole)
        return x + _mlp(config, weights["mlp"], _norm(weights["norm2"], x)), None

    x, _ = jax.lax.scan(layer, x, (params[TOWER]["layers"], jnp.asarray(full)))
    return _merged(config, params[PROJECTOR], x)


def forward(
    config: QwenVLConfig,
    params: Params,
    tokens: Tokens,
    start: Int[Array, " batch"],
    cache: Caches | None = None,
    offset: Int[Array, ""] | int = 0,
    *,
    features: Float[Array, "batch slots hidden"] | None = None,
    shift: Int[Array, "batch slots axes"] | None = None,
    last_only: bool = False,
) -> tuple[Float[Array, "batch read vocab"], Caches | None]:
    """Compute the logits of the next token after each position.

    Args:
        config: The model.
        params: The parameter tree, of which ``language_model`` is read.
        tokens: Token ids, left-padded. A picture has as many tokens as it has features.
        start: The first slot of each sequence that holds a token.
        cache: The keys and values of slots before ``offset``.
        offset: The slot of the first of ``tokens``.
        features: The features of each prompt's pictures in order, or None for text alone.
        shift: How much further their positions are than their places (see `rope.token_shift`).
        last_only: Whether only the logits of the last position are computed (``read`` is then 1).

    Returns:
        The logits in float32, and the cache with the new slots filled.
    """
    return decoder.forward(
        config.text,
        params[LANGUAGE],
        tokens,
        start,
        cache,
        offset,
        last_only=last_only,
        features=features,
        image_token_id=None if features is None else config.places.token_id,
        shift=shift,
    )


def init_params(config: QwenVLConfig, key: PRNGKey) -> Params:
    """Draw random parameters: normal with σ = 0.02, norms that multiply by 1, biases 0."""
    tower, projector, language = jax.random.split(key, 3)
    made = {
        TOWER: lambda: _drawn(tower_shapes(config.vision), tower),
        PROJECTOR: lambda: _drawn(projector_shapes(config.vision), projector),
        LANGUAGE: lambda: decoder.init_params(config.text, language),
    }
    return {part: made[part]() for part in sorted(config.present)}


def _drawn(shapes: dict[str, tuple[int, ...]], key: PRNGKey) -> Params:
    def draw(path: str, shape: tuple[int, ...], own: PRNGKey) -> Array:
        if path.endswith("bias"):
            return jnp.zeros(shape)
        return jnp.ones(shape) if "norm" in path else 0.02 * jax.random.normal(own, shape)

    keys = jax.random.split(key, len(shapes))
    return unflatten(
        {path: draw(path, s, own) for (path, s), own in zip(shapes.items(), keys, strict=True)}
    )


def _embedded(
    config: QwenVisionConfig,
    weight: Float[Array, "hidden channels times patch patch"],
    pixels: Pixels,
    tiles: UInt8[Array, "windows channels height width"],
) -> Float[Array, "windows patches hidden"]:
    """Map the patches of windows, block by block of those that become one feature.

    All times of a still picture are alike, so that one product with the sum over them is enough.
    """
    scale, shift = (channel[:, None, None] for channel in pixels)
    x = (tiles.astype(jnp.float32) * scale + shift).astype(weight.dtype)
    count, channels = x.shape[:2]
    blocks = (config.window, config.merge, config.patch_size)
    x = x.reshape(count, channels, *blocks, *blocks).transpose(0, 2, 5, 3, 6, 1, 4, 7)
    kernel = weight.astype(jnp.float32).sum(axis=2).astype(weight.dtype)
    x = x.reshape(count, config.side**2, -1)
    return jnp.einsum("wpi,oi->wpo", x, kernel.reshape(config.hidden_size, -1))


def _attention(
    config: QwenVisionConfig,
    params: Params,
    x: Float[Array, "windows patches hidden"],
    place: Place,
    whole: Any,
) -> Float[Array, "windows patches hidden"]:
    projected = _linear(params["qkv"], x).reshape(*x.shape[:2], 3, config.num_heads, -1)
    q, k, v = (projected[:, :, one] for one in range(3))
    q, k = (_turned(one, place) for one in (q, k))
    return _linear(params["proj"], attend(q, k, v, place, whole).reshape(x.shape))


def _turned(
    x: Float[Array, "windows patches heads head_dim"], place: Place
) -> Float[Array, "windows patches heads head_dim"]:
    """Turn queries or keys in float32."""
    return rope.rotate(x.astype(jnp.float32), place.cos, place.sin).astype(x.dtype)


def _mlp(
    config: QwenVisionConfig, params: Params, x: Float[Array, "windows patches hidden"]
) -> Float[Array, "windows patches hidden"]:
    gate = activate(config.hidden_act, _linear(params["gate_proj"], x))
    return _linear(params["down_proj"], gate * _linear(params["up_proj"], x))


def _merged(
    config: QwenVisionConfig, params: Params, x: Float[Array, "windows patches hidden"]
) -> Float[Array, "windows positions outputs"]:
    """Make a feature of each block of patches: linear_2(gelu(linear_1(norm(x))))."""
    blocks = _norm(params["norm"], x).reshape(len(x), config.window**2, -1)
    return _linear(params["linear_2"], activate("gelu", _linear(params["linear_1"], blocks)))


def _norm(params: Params, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
    """Compute x / rms(x) · w, the quotient in float32."""
    wide = x.astype(jnp.float32)
    scale = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + _EPSILON)
    return params["weight"] * (wide * scale).astype(x.dtype)


def _linear(params: Params, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
    return jnp.einsum("...i,oi->...o", x, params["weight"]) + params["bias"]
