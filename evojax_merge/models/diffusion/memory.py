"""How much memory it takes to draw, estimated from above."""

import math
from collections.abc import Mapping

from evojax_merge.models.clip.abilities import activation_bytes
from evojax_merge.models.clip.config import CLIPConfig
from evojax_merge.models.diffusion.conditions import Conditions, PromptTokens
from evojax_merge.models.diffusion.drawing import decoded_at_a_time
from evojax_merge.models.layout import Layout
from evojax_merge.models.request import Draw
from evojax_merge.models.target import target
from evojax_merge.models.unet import params as unet_params
from evojax_merge.models.unet.attention import scores_at_a_time
from evojax_merge.models.unet.config import UNetConfig
from evojax_merge.models.vae import params as vae_params
from evojax_merge.models.vae.config import VAEConfig

_BYTES = 3 * 4
"""How many bytes a score of attention takes: it is in float32, and three arrays stand at once."""

_COPIES = 12
"""How many arrays of the width of a level stand in memory at once, beside what is skipped."""


def drawing_bytes(
    config: UNetConfig,
    request: Draw,
    encoders: Mapping[str, CLIPConfig],
    items: Conditions | PromptTokens,
    rows: int,
    itemsize: int,
) -> int:
    """Estimate the bytes that a candidate takes to draw some pictures at a time.

    Args:
        config: The configuration of the UNet.
        request: What is drawn.
        encoders: The configurations of the text encoders.
        items: The prompts of a batch.
        rows: How many pictures are drawn at a time.
        itemsize: The number of bytes of a number of the parameters.
    """
    latents = request.height * request.width // request.vae.factor**2
    unet_rows = 2 * rows if request.guidance > 1 else rows
    steps = unet_rows * _unet_bytes(config, latents, itemsize)
    steps += _score_bytes(config, latents, unet_rows)
    shape = (request.height // request.vae.factor, request.width // request.vae.factor)
    at_a_time = min(rows, decoded_at_a_time(shape, request.vae))
    decoding = at_a_time * _vae_bytes(request.vae, request.height * request.width, itemsize)
    if request.vae.attends:
        decoding += _BYTES * scores_at_a_time(at_a_time, math.prod(shape), math.prod(shape))
    reading = 0
    if isinstance(items, PromptTokens):
        reading = rows * sum(
            activation_bytes(encoder.text, items.tokens[name].shape[1], itemsize)
            for name, encoder in encoders.items()
            if encoder.text is not None
        )
    pictures = 4 * 3 * request.height * request.width * rows
    if itemsize < 4 and target().platform == "cpu":
        # A processor computes in float32, and keeps the weights in it while it takes steps.
        steps += 4 * _size(unet_params.layout(config))
    if itemsize < 4 and request.vae.force_upcast:
        decoding += 4 * _size(vae_params.layout(request.vae))
    return max(steps, decoding, reading) + 2 * pictures


def _size(layout: Layout) -> int:
    """Return how many numbers the parameters of a model are."""
    return sum(math.prod(shape) for shape in layout.shapes.values())


def _unet_bytes(config: UNetConfig, pixels: int, itemsize: int) -> int:
    """Estimate what one row takes: what is skipped to the way up, and the widest level at work."""
    skipped, widest = config.channels[0] * pixels, 0
    for level, (width, layers) in enumerate(zip(config.channels, config.layers, strict=True)):
        own = -(-pixels // 4**level)
        skipped += (layers + 1) * width * own
        widest = max(widest, width * own)
    # Norms are computed in float32.
    return (skipped + _COPIES * widest) * itemsize + _COPIES * widest * 4


def _score_bytes(config: UNetConfig, pixels: int, rows: int) -> int:
    """Estimate what the scores of attention take, at the level that has most of them."""
    levels = [
        (config.heads[level], -(-pixels // 4**level))
        for level in range(len(config.channels))
        if config.crosses_down[level] or config.crosses_up[level]
    ]
    scores = (scores_at_a_time(rows * heads, own, own) for heads, own in levels)
    return _BYTES * max(scores, default=0)


def _vae_bytes(config: VAEConfig, pixels: int, itemsize: int) -> int:
    """Estimate what decoding one picture takes: the finest level, entered at the next's width."""
    width = config.channels[min(1, len(config.channels) - 1)]
    exact = 4 if config.force_upcast else itemsize
    return pixels * width * (4 + 4 * exact)
