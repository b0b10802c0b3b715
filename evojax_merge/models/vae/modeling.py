"""An autoencoder of pictures (Rombach et al., 2022, arXiv 2112.10752, section 3.1)."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from evojax_merge.models.unet.attention import Attention
from evojax_merge.models.unet.initial import draw
from evojax_merge.models.unet.layers import Conv, Grid, GroupNorm, numbered
from evojax_merge.models.unet.residual import Downsample, Resnet, Upsample
from evojax_merge.models.vae.config import VAEConfig
from evojax_merge.models.vae.params import vae_shapes
from evojax_merge.params.types import Array, Float, Params, PRNGKey

Pictures = Float[Array, "batch channels height width"]
"""Pictures in [−1, 1]."""

Latents = Float[Array, "batch latents rows columns"]
"""Latents as the encoder gives them, not scaled. A picture's side is ``factor`` times theirs."""

_EPSILON = 1e-6

_LOWEST, _HIGHEST = -30.0, 20.0
"""The bounds of the log of a variance."""


class PixelAttention(Attention):
    """Attention of each pixel to all of them, with one head."""

    def __init__(self, width: int, groups: int):
        super().__init__(width, heads=1, bias=True)
        self.group_norm = GroupNorm(width, groups, _EPSILON)

    def added(self, x: Grid) -> Grid:
        """Add to a picture what its pixels attend to."""
        pixels = self.group_norm(x).reshape(len(x), -1, x.shape[-1])
        return x + self(pixels).reshape(x.shape)


class Mid(nnx.Module):
    """Two residual blocks at the coarsest resolution, with attention between them."""

    def __init__(self, config: VAEConfig):
        width = config.channels[-1]
        self.resnets = _resnets(config, [width, width], width)
        if config.attends:
            self.attentions = numbered([PixelAttention(width, config.norm_groups)])

    def __call__(self, x: Grid) -> Grid:
        x = self.resnets["0"](x)
        if hasattr(self, "attentions"):
            x = self.attentions["0"].added(x)
        return self.resnets["1"](x)


class Down(nnx.Module):
    """Residual blocks, then half the resolution."""

    def __init__(self, config: VAEConfig, level: int):
        out = config.channels[level]
        first = config.channels[max(level - 1, 0)]
        self.resnets = _resnets(config, [first, *[out] * (config.layers - 1)], out)
        if level < len(config.channels) - 1:
            # Zeros stand after the last row and column only.
            self.downsamplers = numbered([Downsample(out, (0, 1))])

    def __call__(self, x: Grid) -> Grid:
        for resnet in self.resnets.values():
            x = resnet(x)
        return self.downsamplers["0"](x) if hasattr(self, "downsamplers") else x


class Up(nnx.Module):
    """Residual blocks, then twice the resolution."""

    def __init__(self, config: VAEConfig, level: int):
        out = config.channels[level]
        first = config.channels[min(level + 1, len(config.channels) - 1)]
        self.resnets = _resnets(config, [first, *[out] * config.layers], out)
        if level:
            self.upsamplers = numbered([Upsample(out)])

    def __call__(self, x: Grid) -> Grid:
        for resnet in self.resnets.values():
            x = resnet(x)
        return self.upsamplers["0"](x) if hasattr(self, "upsamplers") else x


class Encoder(nnx.Module):
    """Blocks from a picture down to means and log-variances."""

    def __init__(self, config: VAEConfig):
        channels = config.channels
        self.conv_in = Conv(config.in_channels, channels[0])
        self.down_blocks = numbered([Down(config, level) for level in range(len(channels))])
        self.mid_block = Mid(config)
        self.conv_norm_out = GroupNorm(channels[-1], config.norm_groups, _EPSILON)
        self.conv_out = Conv(channels[-1], 2 * config.latent_channels)

    def __call__(self, x: Grid) -> Grid:
        x = self.conv_in(x)
        for down in self.down_blocks.values():
            x = down(x)
        return self.conv_out(jax.nn.silu(self.conv_norm_out(self.mid_block(x))))


class Decoder(nnx.Module):
    """Blocks from latents up to a picture."""

    def __init__(self, config: VAEConfig):
        channels = config.channels
        self.conv_in = Conv(config.latent_channels, channels[-1])
        self.mid_block = Mid(config)
        levels = reversed(range(len(channels)))
        self.up_blocks = numbered([Up(config, level) for level in levels])
        self.conv_norm_out = GroupNorm(channels[0], config.norm_groups, _EPSILON)
        self.conv_out = Conv(channels[0], config.out_channels)

    def __call__(self, x: Grid) -> Grid:
        x = self.mid_block(self.conv_in(x))
        for up in self.up_blocks.values():
            x = up(x)
        return self.conv_out(jax.nn.silu(self.conv_norm_out(x)))


def encode(config: VAEConfig, params: Params, pictures: Pictures) -> tuple[Latents, Latents]:
    """Compute means and log-variances of the latents of pictures.

    A UNet's latents are (mean − ``shift_factor``) times ``scaling_factor``. The result has the
    dtype of the parameters.

    Args:
        config: The model.
        params: The parameter tree of the model. Without the decoder's branches it suffices.
        pictures: Pictures whose sides are multiples of ``factor``.

    Raises:
        ValueError: The pictures have other channels than the model's.
    """
    _check("pictures", pictures, config.in_channels)
    x = _channels_last(pictures, params["encoder"])
    x = nnx.merge(_graph(config, "encoder"), params["encoder"])(x)
    if config.encodes_by_convolution:
        x = nnx.merge(_graph(config, "quant_conv"), params["quant_conv"])(x)
    mean, logvar = jnp.split(x.transpose(0, 3, 1, 2), 2, axis=1)
    return mean, jnp.clip(logvar, _LOWEST, _HIGHEST)


def decode(config: VAEConfig, params: Params, latents: Latents) -> Pictures:
    """Compute the pictures of latents. They are about in [−1, 1], and not cut to it.

    Args:
        config: The model.
        params: The parameter tree of the model. Without the encoder's branches it suffices.
        latents: A UNet's latents, divided by ``scaling_factor``, plus ``shift_factor``.

    Raises:
        ValueError: The latents have other channels than the model's.
    """
    _check("latents", latents, config.latent_channels)
    x = _channels_last(latents, params["decoder"])
    if config.decodes_by_convolution:
        x = nnx.merge(_graph(config, "post_quant_conv"), params["post_quant_conv"])(x)
    x = nnx.merge(_graph(config, "decoder"), params["decoder"])(x)
    return x.transpose(0, 3, 1, 2)


def forward(
    config: VAEConfig, params: Params, pictures: Pictures
) -> Float[Array, "batch outputs height width"]:
    """Decode the means of pictures. Raises what `encode` raises."""
    return decode(config, params, encode(config, params, pictures)[0])


def init_params(config: VAEConfig, key: PRNGKey) -> Params:
    """Draw random parameters: weights uniform within 1/√inputs, norms 1, biases 0."""
    return draw(vae_shapes(config), key)


def _resnets(config: VAEConfig, widths: list[int], out: int) -> nnx.Dict:
    return numbered([Resnet(width, out, config.norm_groups, _EPSILON) for width in widths])


def _channels_last(x: Float[Array, "batch channels height width"], branch: Params) -> Grid:
    return x.transpose(0, 2, 3, 1).astype(branch["conv_in"]["weight"].dtype)


def _check(name: str, given: Array, channels: int) -> None:
    if given.shape[1] != channels:
        raise ValueError(
            f"{name} of {given.shape[1]} channels are not what this autoencoder reads, which is "
            f"{channels}"
        )


@functools.cache
def _graph(config: VAEConfig, branch: str) -> nnx.GraphDef:
    """Return the structure of a branch of the model."""
    latent = config.latent_channels
    make = {
        "encoder": lambda: Encoder(config),
        "decoder": lambda: Decoder(config),
        "quant_conv": lambda: Conv(2 * latent, 2 * latent, kernel=1),
        "post_quant_conv": lambda: Conv(latent, latent, kernel=1),
    }[branch]
    return nnx.graphdef(nnx.eval_shape(make))
