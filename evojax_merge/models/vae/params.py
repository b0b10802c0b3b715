"""The place of each tensor of an autoencoder in the parameter tree, its shape and its use.

Paths are the names that diffusers gives the tensors. No leaf is in a stack of layers.
"""

import functools
import re

from evojax_merge.models.layout import Layout, Leaf
from evojax_merge.models.unet.params import group_of
from evojax_merge.models.unet.shapes import (
    Shape,
    conv,
    downsampler,
    inside,
    linear,
    norm,
    resnet,
    upsampler,
)
from evojax_merge.models.vae.config import VAEConfig

_OLDER = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

_ATTENTION = re.compile(r"(?<=\.attentions\.0\.)(to_q|to_k|to_v|to_out\.0)(?=\.)")


@functools.cache
def layout(config: VAEConfig) -> Layout:
    """Make the layout, which has no stacks."""
    leaves = {
        path: Leaf(shape, _tensor(config, path), group_of(path))
        for path, shape in vae_shapes(config).items()
    }
    return Layout(dict(sorted(leaves.items())))


def hf_fields(config: VAEConfig) -> dict[str, object]:
    """Return the fields of ``config.json`` that a merge may have changed: there are none."""
    return {}


def _tensor(config: VAEConfig, path: str) -> str:
    """Return the name on disk of a leaf."""
    if not config.older_names:
        return path
    return _ATTENTION.sub(lambda found: _OLDER[found[0]], path)


def vae_shapes(c: VAEConfig) -> dict[str, Shape]:
    """Map each path to its shape."""
    found = inside("encoder", _encoder(c)) | inside("decoder", _decoder(c))
    latent = c.latent_channels
    if c.encodes_by_convolution:
        found |= conv("quant_conv", 2 * latent, 2 * latent, 1)
    if c.decodes_by_convolution:
        found |= conv("post_quant_conv", latent, latent, 1)
    return found


def _encoder(c: VAEConfig) -> dict[str, Shape]:
    widest = c.channels[-1]
    found = conv("conv_in", c.in_channels, c.channels[0])
    for level, out in enumerate(c.channels):
        first = c.channels[max(level - 1, 0)]
        block = _resnets([first, *[out] * (c.layers - 1)], out)
        if level < len(c.channels) - 1:
            block |= downsampler(out)
        found |= inside(f"down_blocks.{level}", block)
    found |= inside("mid_block", _mid(c))
    return found | norm("conv_norm_out", widest) | conv("conv_out", widest, 2 * c.latent_channels)


def _decoder(c: VAEConfig) -> dict[str, Shape]:
    levels = c.channels[::-1]
    found = conv("conv_in", c.latent_channels, levels[0]) | inside("mid_block", _mid(c))
    for number, out in enumerate(levels):
        first = levels[max(number - 1, 0)]
        block = _resnets([first, *[out] * c.layers], out)
        if number < len(levels) - 1:
            block |= upsampler(out)
        found |= inside(f"up_blocks.{number}", block)
    return found | norm("conv_norm_out", levels[-1]) | conv("conv_out", levels[-1], c.out_channels)


def _mid(c: VAEConfig) -> dict[str, Shape]:
    width = c.channels[-1]
    found = _resnets([width, width], width)
    if c.attends:
        found |= inside("attentions.0", norm("group_norm", width))
        for name in _OLDER:
            found |= linear(f"attentions.0.{name}", width, width)
    return found


def _resnets(widths: list[int], out: int) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for number, width in enumerate(widths):
        found |= inside(f"resnets.{number}", resnet(width, out))
    return found
