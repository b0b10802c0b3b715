"""Pictures of prompts: noise, which a UNet takes away step by step, and a VAE that decodes.

Every function draws for one candidate.
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from evojax_merge.models.clip.config import CLIPConfig
from evojax_merge.models.diffusion.conditioning import encode, encode_negative
from evojax_merge.models.diffusion.conditions import Conditions, PromptTokens
from evojax_merge.models.diffusion.samplers import Latents, sample
from evojax_merge.models.pieces import in_pieces
from evojax_merge.models.request import Draw
from evojax_merge.models.unet import modeling as unet
from evojax_merge.models.unet.config import UNetConfig
from evojax_merge.models.vae import modeling as vae
from evojax_merge.models.vae.config import VAEConfig
from evojax_merge.params.types import Array, Float, Int, Params, UInt, UInt8

Pictures = Float[Array, "rows channels height width"]
"""Pictures with numbers between 0 and 1, in steps of 1/255."""

Seeds = UInt[Array, " rows"]

_DECODED = 2**20
"""How many pixels are decoded at a time, unless one picture has more."""


def draw(
    unet_config: UNetConfig,
    request: Draw,
    params: Params,
    items: Conditions | PromptTokens,
    seeds: Seeds,
    negative: Conditions | PromptTokens | None = None,
    encoders: Mapping[str, CLIPConfig] | None = None,
) -> Pictures:
    """Draw a picture of each prompt. The judge of the request is not asked.

    Args:
        unet_config: The configuration of the UNet.
        request: What is drawn, and how.
        params: The parts of the pipeline by name: ``unet``, ``vae``, and the text encoders where
            prompts are given as tokens.
        items: The prompts of the pictures.
        seeds: The number that fixes the noise of each picture.
        negative: What guidance leads away from (see `evojax_merge.models.request.Drawing`).
        encoders: The configurations of the text encoders by name, in their order, where prompts are
            given as tokens.

    Raises:
        ValueError: The models cannot draw pictures of such a size, or do not fit together.
    """
    check_size(request)
    if isinstance(items, PromptTokens):
        assert request.conditioning is not None  # else nothing says what the tokens are for
        assert encoders is not None
        items = encode(request.conditioning, encoders, params, items)
    if isinstance(negative, PromptTokens):
        assert request.conditioning is not None
        assert encoders is not None
        negative = encode_negative(request.conditioning, encoders, params, negative)
    latents = draw_latents(unet_config, request, params["unet"], items, seeds, negative)
    return decoded(request.vae, params["vae"], latents)


def draw_latents(
    config: UNetConfig,
    request: Draw,
    params: Params,
    conditions: Conditions,
    seeds: Seeds,
    negative: Conditions | None = None,
) -> Latents:
    """Turn the noise of seeds into latents, scaled as the UNet has them.

    With guidance above 1 the UNet's output is negative + guidance · (prompt − negative) (Ho and
    Salimans, 2022, arXiv 2207.12598, equation 6, with w = guidance − 1).

    Args:
        config: The configuration of the UNet.
        request: What is drawn, and how.
        params: The parameters of the UNet.
        conditions: What the UNet is told of each picture.
        seeds: The number that fixes the noise of each picture.
        negative: What guidance leads away from, in one row; by default, zeros.
    """
    guided = request.guidance > 1
    told = jax.tree.map(jnp.asarray, both(conditions, negative) if guided else conditions)

    def predict(latents: Latents, time: Float[Array, ""]) -> Latents:
        given = jnp.concatenate([latents, latents]) if guided else latents
        times = jnp.broadcast_to(time, len(given))
        output = unet.forward(config, params, given, times, *told).astype(jnp.float32)
        if not guided:
            return output
        unconditional, conditional = jnp.split(output, 2)
        return unconditional + request.guidance * (conditional - unconditional)

    side = request.vae.factor
    shape = (request.vae.latent_channels, request.height // side, request.width // side)
    later = functools.partial(noise_of, seeds, shape)
    return sample(request.sampler, predict, noise_of(seeds, shape), lambda index: later(index + 1))


def noise_of(seeds: Seeds, shape: tuple[int, int, int], index: Int[Array, ""] | int = 0) -> Latents:
    """Draw the standard normal noise of seeds, a function of a seed and an index alone.

    Args:
        seeds: The seeds.
        shape: The shape of the noise of one seed.
        index: 0 for the noise that a picture begins with, and more for noise that is added later.
    """
    first = jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), index)
    return jax.vmap(lambda seed: jax.random.normal(jax.random.fold_in(first, seed), shape))(
        jnp.asarray(seeds)
    )


def both(conditions: Conditions, negative: Conditions | None) -> Conditions:
    """Put the negative prompt of each item before the conditions of the items.

    Args:
        conditions: The conditions of items.
        negative: The conditions of the negative prompt in one row; by default, zeros. Time ids are
            those of the items.
    """

    def before(own: Array, other: Array) -> Array:
        return jnp.concatenate([jnp.broadcast_to(other, own.shape).astype(own.dtype), own])

    own: Conditions = jax.tree.map(jnp.asarray, conditions)
    zeros = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[:1]), own)
    first = (zeros if negative is None else negative)._replace(time_ids=own.time_ids)
    return jax.tree.map(before, own, first)


def decoded(config: VAEConfig, params: Params, latents: Latents) -> Pictures:
    """Turn a UNet's latents into pictures.

    A VAE that says ``force_upcast`` runs in float32, whatever the precision of its parameters.

    Args:
        config: The configuration of the VAE.
        params: Its parameters, of which those of the decoder suffice.
        latents: Latents, scaled as the UNet has them.
    """
    if config.force_upcast:
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)

    def decode(some: Latents) -> Pictures:
        unscaled = some / config.scaling_factor + config.shift_factor
        picture = vae.decode(config, params, unscaled).astype(jnp.float32) / 2 + 0.5
        return jnp.round(jnp.clip(picture, 0, 1) * 255) / 255

    return in_pieces(decode, latents, decoded_at_a_time(latents.shape, config))


def decoded_at_a_time(shape: tuple[int, ...], config: VAEConfig) -> int:
    """Return how many latents of a shape are decoded at a time."""
    return max(_DECODED // (shape[-2] * shape[-1] * config.factor**2), 1)


def whole_numbers(pictures: Pictures) -> UInt8[Array, "rows height width channels"]:
    """Return pictures as numbers from 0 to 255, channels last. What is nan becomes 0."""
    return jnp.round(jnp.nan_to_num(pictures) * 255).astype(jnp.uint8).transpose(0, 2, 3, 1)


def check_size(request: Draw) -> None:
    """Check that the VAE has pictures of the size that is asked for.

    Raises:
        ValueError: It does not.
    """
    side = request.vae.factor
    for name in ("height", "width"):
        pixels = getattr(request, name)
        if type(pixels) is not int or pixels < side or pixels % side:
            raise ValueError(
                f"{name} of pictures must be a multiple of {side}, as the VAE has a latent for "
                f"{side} pixels; got {pixels!r}"
            )
