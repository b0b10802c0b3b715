"""The place of each tensor of a UNet in the parameter tree, its shape and its use.

Paths are the names that diffusers gives the tensors. The blocks of a transformer are alike and
stacked, so that ``transformer_blocks.3.attn1…`` is row 3 of ``transformer_blocks.attn1…``. All
other leaves are in no layer.
"""

import functools
import re
from collections.abc import Mapping

from evojax_merge.models.layout import LAYER, Layout, Leaf, Stack
from evojax_merge.models.unet.config import UNetConfig
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

_BLOCKS = "transformer_blocks"

_BLOCK = re.compile(rf"(.*\.)?{_BLOCKS}(?=\.)")

# Group norms, transformers' projections and time embeddings are left of these names.
_GROUPS = (
    (re.compile(r"\.to_(q|k|v|out\.0)\."), "attention"),
    (re.compile(r"\.ff\."), "feed_forward"),
    (re.compile(r"(^|[._])norm"), "norm"),
    (re.compile(r"\.proj_(in|out)\."), "projection"),
    (re.compile(r"(^|\.)(time_emb|add_emb)"), "embedding"),
)

_SHARED = {"attn1.to_k": "attn1.to_q", "attn1.to_v": "attn1.to_q", "attn2.to_v": "attn2.to_k"}
"""The linear layers of a transformer's block that read what another one reads."""


@functools.cache
def layout(config: UNetConfig) -> Layout:
    """Make the layout, with a stack for the blocks of each transformer."""
    shapes = unet_shapes(config)
    depths = {found[0]: shape[0] for path, shape in shapes.items() if (found := _BLOCK.match(path))}
    leaves = {path: _leaf(path, shape) for path, shape in shapes.items()}
    stacks = {name: Stack(name, depth) for name, depth in depths.items()}
    return Layout(dict(sorted(leaves.items())), stacks)


def hf_fields(config: UNetConfig) -> dict[str, object]:
    """Return the fields of ``config.json`` that a merge may have changed: there are none."""
    return {}


def group_of(path: str) -> str:
    """Return the group of a leaf, which is ``conv`` where its path says nothing else.

    ``attention`` is what Sakana's EvoSDXL-JP merges by itself: queries, keys, values and outputs.
    """
    return next((group for pattern, group in _GROUPS if pattern.search(path)), "conv")


def _leaf(path: str, shape: Shape) -> Leaf:
    if (found := _BLOCK.match(path)) is None:
        return Leaf(shape, path, group_of(path))
    stack = found[0]
    inner = path.removeprefix(f"{stack}.")
    layer, _, kind = inner.rpartition(".")
    reads = None
    if kind == "weight" and len(shape) == 3:
        reads = f"{stack}.{_SHARED.get(layer, layer)}"
    return Leaf(shape, f"{stack}.{LAYER}.{inner}", group_of(path), stack, "each", reads=reads)


def unet_shapes(c: UNetConfig) -> dict[str, Shape]:
    """Map each path to its shape."""
    levels = range(len(c.channels))
    found = {
        **conv("conv_in", c.in_channels, c.channels[0]),
        **_embedding("time_embedding", c.channels[0], c.time_width),
    }
    if c.conditions is not None:
        found |= _embedding("add_embedding", c.conditions.width, c.time_width)
    for number in levels:
        found |= inside(f"down_blocks.{number}", _down(c, number))
    found |= inside("mid_block", _mid(c))
    for number in levels:
        found |= inside(f"up_blocks.{number}", _up(c, number))
    found |= norm("conv_norm_out", c.channels[0])
    return found | conv("conv_out", c.channels[0], c.out_channels)


def _down(c: UNetConfig, level: int) -> dict[str, Shape]:
    """Map the paths in a block on the way down to their shapes."""
    out = c.channels[level]
    found: dict[str, Shape] = {}
    for number in range(c.layers[level]):
        inputs = out if number else c.channels[max(level - 1, 0)]
        found |= inside(f"resnets.{number}", resnet(inputs, out, c.time_width))
        if c.crosses_down[level]:
            found |= inside(f"attentions.{number}", _transformer(c, level))
    return found | (downsampler(out) if level < len(c.channels) - 1 else {})


def _mid(c: UNetConfig) -> dict[str, Shape]:
    """Map the paths in the middle to their shapes."""
    width = c.channels[-1]
    return {
        **inside("resnets.0", resnet(width, width, c.time_width)),
        **inside("attentions.0", _transformer(c, -1)),
        **inside("resnets.1", resnet(width, width, c.time_width)),
    }


def _up(c: UNetConfig, number: int) -> dict[str, Shape]:
    """Map the paths in a block on the way up, which counts from the coarsest level, to shapes."""
    level = len(c.channels) - 1 - number
    out = c.channels[level]
    found: dict[str, Shape] = {}
    for layer in range(c.layers[level] + 1):
        below = out if layer else c.channels[min(level + 1, len(c.channels) - 1)]
        skip = out if layer < c.layers[level] else c.channels[max(level - 1, 0)]
        found |= inside(f"resnets.{layer}", resnet(below + skip, out, c.time_width))
        if c.crosses_up[level]:
            found |= inside(f"attentions.{layer}", _transformer(c, level))
    return found | (upsampler(out) if level else {})


def _transformer(c: UNetConfig, level: int) -> dict[str, Shape]:
    """Map the paths in a transformer to their shapes. Those of its blocks begin with the blocks."""
    width = c.channels[level]
    project = linear if c.linear_projection else functools.partial(conv, kernel=1)
    block = {
        **norm("norm1", width),
        **inside("attn1", _attention(width, width)),
        **norm("norm2", width),
        **inside("attn2", _attention(width, c.context_width)),
        **norm("norm3", width),
        **linear("ff.net.0.proj", width, 8 * width),  # half of it are gates
        **linear("ff.net.2", 4 * width, width),
    }
    return {
        **norm("norm", width),
        **project("proj_in", width, width),
        **{f"{_BLOCKS}.{path}": (c.depths[level], *shape) for path, shape in block.items()},
        **project("proj_out", width, width),
    }


def _attention(width: int, context: int) -> Mapping[str, Shape]:
    return {
        "to_q.weight": (width, width),
        "to_k.weight": (width, context),
        "to_v.weight": (width, context),
        **linear("to_out.0", width, width),
    }


def _embedding(name: str, inputs: int, width: int) -> dict[str, Shape]:
    return {
        **linear(f"{name}.linear_1", inputs, width),
        **linear(f"{name}.linear_2", width, width),
    }
