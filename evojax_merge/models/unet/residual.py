"""Residual blocks of convolutions, and what changes the resolution between them."""

import jax
import jax.numpy as jnp
from flax import nnx

from evojax_merge.models.unet.layers import Conv, Grid, GroupNorm, Linear
from evojax_merge.params.types import Array, Float


class Resnet(nnx.Module):
    """Two convolutions of normalised inputs beside a shortcut (He et al., 2016, arXiv 1603.05027).

    Where there is an embedding of the timestep, it is added between them.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        groups: int,
        epsilon: float,
        time_width: int | None = None,
    ):
        self.norm1 = GroupNorm(inputs, groups, epsilon)
        self.conv1 = Conv(inputs, outputs)
        if time_width is not None:
            self.time_emb_proj = Linear(time_width, outputs)
        self.norm2 = GroupNorm(outputs, groups, epsilon)
        self.conv2 = Conv(outputs, outputs)
        if inputs != outputs:
            self.conv_shortcut = Conv(inputs, outputs, kernel=1)

    def __call__(self, x: Grid, time: Float[Array, "batch time"] | None = None) -> Grid:
        y = self.conv1(jax.nn.silu(self.norm1(x)))
        if time is not None:
            y += self.time_emb_proj(jax.nn.silu(time))[:, None, None]
        y = self.conv2(jax.nn.silu(self.norm2(y)))
        return y + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class Downsample(nnx.Module):
    """A convolution that moves by two pixels.

    Args:
        channels: The width.
        padding: How many zeros stand before and after each row and column.
    """

    def __init__(self, channels: int, padding: tuple[int, int] = (1, 1)):
        self.conv = Conv(channels, channels, stride=2, padding=padding)

    def __call__(self, x: Grid) -> Grid:
        return self.conv(x)


class Upsample(nnx.Module):
    """Every pixel four times, then a convolution."""

    def __init__(self, channels: int):
        self.conv = Conv(channels, channels)

    def __call__(self, x: Grid, size: tuple[int, int] | None = None) -> Grid:
        """Double the resolution.

        Args:
            x: The picture.
            size: The height and width that are wanted. An odd one leaves out the last copy.
        """
        doubled = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
        if size is not None:
            doubled = doubled[:, : size[0], : size[1]]
        return self.conv(doubled)
