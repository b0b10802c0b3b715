"""The blocks of one resolution: on the way down, in the middle, and on the way up."""

import jax.numpy as jnp
from flax import nnx

from evojax_merge.models.unet.config import UNetConfig
from evojax_merge.models.unet.layers import Grid, numbered
from evojax_merge.models.unet.residual import Downsample, Resnet, Upsample
from evojax_merge.models.unet.transformer import Context, Transformer
from evojax_merge.params.types import Array, Float

Time = Float[Array, "batch time"]


class Down(nnx.Module):
    """Residual blocks, each with a transformer where the level has them, then half the size."""

    def __init__(self, config: UNetConfig, level: int):
        out, count = config.channels[level], config.layers[level]
        widths = [config.channels[max(level - 1, 0)], *[out] * (count - 1)]
        self.resnets = numbered([_resnet(config, width, out) for width in widths])
        if config.crosses_down[level]:
            self.attentions = numbered([Transformer(config, level) for _ in widths])
        if level < len(config.channels) - 1:
            self.downsamplers = numbered([Downsample(out)])

    def __call__(self, x: Grid, time: Time, context: Context) -> list[Grid]:
        """Return the picture after each step. The last one enters the next block."""
        found = []
        for number, resnet in self.resnets.items():
            x = resnet(x, time)
            if hasattr(self, "attentions"):
                x = self.attentions[number](x, context)
            found.append(x)
        if hasattr(self, "downsamplers"):
            found.append(self.downsamplers["0"](x))
        return found


class Mid(nnx.Module):
    """A transformer between two residual blocks, at the coarsest resolution."""

    def __init__(self, config: UNetConfig):
        width = config.channels[-1]
        self.resnets = numbered([_resnet(config, width, width) for _ in range(2)])
        self.attentions = numbered([Transformer(config, -1)])

    def __call__(self, x: Grid, time: Time, context: Context) -> Grid:
        x = self.attentions["0"](self.resnets["0"](x, time), context)
        return self.resnets["1"](x, time)


class Up(nnx.Module):
    """Residual blocks that also read what the way down left behind, then twice the size."""

    def __init__(self, config: UNetConfig, level: int):
        channels = config.channels
        out, count = channels[level], config.layers[level] + 1
        below = [channels[min(level + 1, len(channels) - 1)], *[out] * (count - 1)]
        skips = [*[out] * (count - 1), channels[max(level - 1, 0)]]
        widths = [own + skip for own, skip in zip(below, skips, strict=True)]
        self.resnets = numbered([_resnet(config, width, out) for width in widths])
        if config.crosses_up[level]:
            self.attentions = numbered([Transformer(config, level) for _ in widths])
        if level:
            self.upsamplers = numbered([Upsample(out)])

    def __call__(self, x: Grid, skips: list[Grid], time: Time, context: Context) -> Grid:
        """Return what enters the next block.

        Args:
            x: The picture that comes from below.
            skips: What the way down left behind. The block takes the last ones away, and grows to
                the size of the one that is then the last.
            time: The embedding of the timestep.
            context: The text.
        """
        for number, resnet in self.resnets.items():
            x = resnet(jnp.concatenate([x, skips.pop()], axis=-1), time)
            if hasattr(self, "attentions"):
                x = self.attentions[number](x, context)
        if hasattr(self, "upsamplers"):
            height, width = skips[-1].shape[1:3]
            x = self.upsamplers["0"](x, (height, width))
        return x


def _resnet(config: UNetConfig, inputs: int, outputs: int) -> Resnet:
    return Resnet(inputs, outputs, config.norm_groups, config.norm_epsilon, config.time_width)
