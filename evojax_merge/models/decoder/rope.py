"""Rotary position embedding (Su et al., 2021, https://arxiv.org/abs/2104.09864), rotate-half form,
with the context extensions that checkpoints in use name in their ``config.json``."""

import math

import jax.numpy as jnp
import numpy as np

from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.rope_config import RopeConfig
from evojax_merge.params.types import Array, Bool, Float, Int

AXES = 3
"""The number of axes of a position where RoPE has sections: time, height and width."""


def cosine_and_sine(
    config: DecoderConfig,
    rope: RopeConfig,
    position: Int[Array, "batch seq"],
    shift: Int[Array, "batch read axes"] | None = None,
) -> tuple[Float[Array, "batch seq dims"], Float[Array, "batch seq dims"]]:
    """Compute what `rotate` takes, in float32. ``dims`` counts the channels that are turned.

    Args:
        config: The decoder.
        rope: One of the decoder's RoPEs.
        position: The position of each token in its sequence.
        shift: How much further each token's position is on each axis, where RoPE has sections. Of
            one for all tokens ``read`` is 1.
    """
    along = position[..., None]
    if shift is not None:
        axis = np.repeat(np.arange(len(rope.sections)) % AXES, rope.sections)
        along = (along + shift)[..., axis]
    angle = along * frequencies(config, rope, position)
    angle = jnp.concatenate([angle, angle], axis=-1)
    factor = attention_factor(rope)
    return jnp.cos(angle) * factor, jnp.sin(angle) * factor


def frequencies(
    config: DecoderConfig, rope: RopeConfig, position: Int[Array, "batch seq"]
) -> Float[Array, "*rows half"]:
    """Compute the angular frequency of each pair of channels, in radians per position.

    Two kinds depend on the length of sequences: ``longrope`` on that of each sequence, and
    ``dynamic`` on that of the longest of the batch, as in transformers.
    """
    length = position.max() + 1
    dims = rope.dims(config.head_dim)
    exponents = np.arange(0, dims, 2, dtype=np.float32) / dims
    inverse = (1.0 / rope.theta**exponents).astype(np.float32)
    if rope.kind == "linear":
        return jnp.asarray(inverse / np.float32(rope.factor))
    if rope.kind == "dynamic":
        limit = config.max_position_embeddings
        seen = jnp.maximum(length, limit).astype(jnp.float32)
        growth = rope.factor * seen / limit - (rope.factor - 1.0)
        base = rope.theta * growth ** (dims / (dims - 2))
        return 1.0 / base ** jnp.asarray(exponents)
    if rope.kind == "llama3":
        return jnp.asarray(_llama3(config, rope, inverse))
    if rope.kind == "yarn":
        return jnp.asarray(_yarn(config, rope, inverse))
    if rope.kind == "longrope":
        limit = rope.original_max_position_embeddings or config.max_position_embeddings
        short, long = (
            (inverse / np.asarray(factors, np.float32)).astype(np.float32)
            for factors in (rope.short_factor, rope.long_factor)
        )
        return jnp.where(position[:, -1:, None] >= limit, long, short)
    return jnp.asarray(inverse)


def token_shift(
    shift: Int[Array, "batch slots axes"], place: Bool[Array, "batch seq"] | None
) -> Int[Array, "batch read axes"]:
    """Tell how much further the positions of tokens are than their places in their sequences.

    A picture takes many places. Its features have one time, and positions down and across it. The
    text after it goes on at the greatest of these.

    Args:
        shift: How much further the position of each feature is on each axis. After the last feature
            of a sequence stands what holds for the text after it.
        place: Which tokens are features, or None where all of them stand after the last feature.
    """
    if place is None:
        return jnp.broadcast_to(shift[:, -1:].max(-1, keepdims=True), (len(shift), 1, AXES))
    row = jnp.cumsum(place, axis=-1) - 1
    own = jnp.take_along_axis(shift, jnp.maximum(row, 0)[..., None], axis=1)
    after = jnp.where(row[..., None] < 0, 0, own.max(-1, keepdims=True))
    return jnp.where(place[..., None], own, after)


def check_lengths(config: DecoderConfig, most: int) -> None:
    """Check that sequences of which a part is in a cache may have ``most`` tokens.

    Raises:
        ValueError: Sequences may grow past the length where ``longrope`` changes the angles of all
            their tokens, those in the cache included.
    """
    for rope in (config.rope, config.local_rope):
        limit = rope and rope.kind == "longrope" and rope.original_max_position_embeddings
        if limit and most > limit:
            raise ValueError(
                f"a prompt and its answer may take {most:,} tokens here, and RoPE of type "
                f"'longrope' turns all of them otherwise past {limit:,}; give shorter prompts or "
                f"answers, of at most {limit:,} tokens together"
            )


def attention_factor(rope: RopeConfig) -> float:
    """Return the factor of cosine and sine.

    It is 1 except for ``yarn`` (Peng et al., 2023, arXiv 2309.00071) and ``longrope`` (Ding et al.,
    2024, arXiv 2402.13753).
    """
    if rope.kind not in ("yarn", "longrope"):
        return 1.0
    if rope.attention_factor is not None:
        return rope.attention_factor
    if rope.mscale and rope.mscale_all_dim:
        return _mscale(rope.factor, rope.mscale) / _mscale(rope.factor, rope.mscale_all_dim)
    return _mscale(rope.factor, 1.0)


def _mscale(factor: float, scale: float) -> float:
    return 1.0 if factor <= 1.0 else 0.1 * scale * math.log(factor) + 1.0


def _llama3(config: DecoderConfig, rope: RopeConfig, inverse: np.ndarray) -> np.ndarray:
    """Interpolate slow channels, keep fast ones, and blend those between (Llama 3.1)."""
    limit = rope.original_max_position_embeddings or config.max_position_embeddings
    wavelength = 2 * math.pi / inverse
    smooth = (limit / wavelength - rope.low_freq_factor) / (
        rope.high_freq_factor - rope.low_freq_factor
    )
    blended = (1 - smooth) * inverse / rope.factor + smooth * inverse
    slow = wavelength > limit / rope.low_freq_factor
    fast = wavelength < limit / rope.high_freq_factor
    return np.where(slow, inverse / rope.factor, np.where(fast, inverse, blended)).astype(
        np.float32
    )


def _yarn(config: DecoderConfig, rope: RopeConfig, inverse: np.ndarray) -> np.ndarray:
    """Blend from kept to interpolated channels by their number of rotations."""
    dims = rope.dims(config.head_dim)
    limit = rope.original_max_position_embeddings or config.max_position_embeddings

    def channel(rotations: float) -> float:
        return dims * math.log(limit / (rotations * 2 * math.pi)) / (2 * math.log(rope.theta))

    low, high = channel(rope.beta_fast), channel(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dims - 1)
    high = high + 0.001 if low == high else high
    ramp = np.clip((np.arange(dims // 2, dtype=np.float32) - low) / (high - low), 0, 1)
    return (inverse / rope.factor * ramp + inverse * (1 - ramp)).astype(np.float32)


def rotate(
    x: Float[Array, "batch seq heads head_dim"],
    cos: Float[Array, "batch seq dims"],
    sin: Float[Array, "batch seq dims"],
) -> Float[Array, "batch seq heads head_dim"]:
    """Turn each pair of channels (i, i + half) by its position's angle.

    Where there are fewer angles than channels, the last channels are left as they are.
    """
    dims = cos.shape[-1]
    if dims < x.shape[-1]:
        turned = rotate(x[..., :dims], cos, sin)
        return jnp.concatenate([turned, x[..., dims:]], axis=-1)
    first, second = jnp.split(x, 2, axis=-1)
    turned = jnp.concatenate([-second, first], axis=-1)
    return (x * cos[:, :, None, :] + turned * sin[:, :, None, :]).astype(x.dtype)
