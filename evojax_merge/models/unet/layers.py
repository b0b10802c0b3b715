"""The modules that UNets and autoencoders are built of.

Pictures are ``[batch, height, width, channels]`` inside of a network. Weights keep the checkpoint's
layouts, ``[out, in, height, width]`` and ``[out, in]``, so that loading and exporting move bytes
and nothing else. A module is made for its structure alone, with zeros for weights.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from evojax_merge.models.probe import observed
from evojax_merge.models.target import target
from evojax_merge.params.types import Array, Float

Grid = Float[Array, "batch _ _ _"]
"""Feature maps inside of a network: height, width, and channels last."""


def numbered(modules: list[Any]) -> nnx.Dict:
    """Give modules the names 0, 1, …, as diffusers does."""
    return nnx.Dict({str(number): module for number, module in enumerate(modules)})


class Linear(nnx.Module):
    """y = W x + b with W of shape [out, in]."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True):
        self.weight = nnx.Param(jnp.zeros((outputs, inputs)))
        if bias:
            self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        y = jnp.einsum("...i,oi->...o", observed(self, x), self.weight[...])
        return y + self.bias[...] if hasattr(self, "bias") else y


class Conv(nnx.Module):
    """A convolution with W of shape [out, in, height, width].

    Args:
        inputs: The number of channels that it reads.
        outputs: The number of channels that it writes.
        kernel: The side of its window.
        stride: How far the window moves.
        padding: How many zeros stand before and after each row and column. By default the picture
            keeps its size.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        padding: tuple[int, int] | None = None,
    ):
        self.weight = nnx.Param(jnp.zeros((outputs, inputs, kernel, kernel)))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.stride = stride
        self.padding = (kernel // 2, kernel // 2) if padding is None else padding

    def __call__(self, x: Grid) -> Grid:
        weight = self.weight[...]
        if weight.shape[2:] == (1, 1):
            return jnp.einsum("...i,oi->...o", x, weight[:, :, 0, 0]) + self.bias[...]
        # A CPU's convolution lays the kernel out anew, which for few pixels takes longer than that.
        few = math.prod(x.shape[:3]) <= len(weight) and target().platform == "cpu"
        if few and self.stride == 1:
            return _of_few_pixels(x, weight, self.padding) + self.bias[...]
        y = jax.lax.conv_general_dilated(
            x,
            weight,
            window_strides=(self.stride, self.stride),
            padding=(self.padding, self.padding),
            dimension_numbers=("NHWC", "OIHW", "NHWC"),
        )
        return y + self.bias[...]


def _of_few_pixels(
    x: Float[Array, "batch height width inputs"],
    weight: Float[Array, "outputs inputs side side"],
    padding: tuple[int, int],
) -> Float[Array, "batch height width outputs"]:
    """Convolve as one product of matrices: the windows of all pixels, times the kernel as it lies.

    The result has the size of the picture.
    """
    height, width = x.shape[1:3]
    side = weight.shape[-1]
    padded = jnp.pad(x, ((0, 0), padding, padding, (0, 0)))
    windows = [
        padded[:, row : row + height, column : column + width]
        for row in range(side)
        for column in range(side)
    ]
    flat = jnp.stack(windows, axis=-1).reshape(*x.shape[:3], -1)
    return jnp.einsum("...i,oi->...o", flat, weight.reshape(len(weight), -1))


class GroupNorm(nnx.Module):
    """Channels in groups, each normalised over the picture (Wu & He, 2018, arXiv 1803.08494).

    It is computed in float32.
    """

    def __init__(self, channels: int, groups: int, epsilon: float):
        self.weight = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.groups = groups
        self.epsilon = epsilon

    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width channels"]:
        wide = x.astype(jnp.float32)
        wide -= self._spread(jnp.mean(wide, axis=(1, 2)))
        scale = jax.lax.rsqrt(self._spread(jnp.mean(wide * wide, axis=(1, 2))) + self.epsilon)
        weight, bias = (part[...].astype(jnp.float32) for part in (self.weight, self.bias))
        return (wide * (scale * weight) + bias).astype(x.dtype)

    def _spread(self, means: Float[Array, "batch channels"]) -> Float[Array, "batch 1 1 channels"]:
        """Replace the mean of each channel by that of its group."""
        batch, channels = means.shape
        shared = jnp.mean(means.reshape(batch, self.groups, -1), axis=-1, keepdims=True)
        spread = jnp.broadcast_to(shared, (batch, self.groups, channels // self.groups))
        return spread.reshape(batch, 1, 1, channels)


class LayerNorm(nnx.Module):
    """(x − mean) / √(variance + ε) · w + b, computed in float32 (Ba et al., 2016, 1607.06450)."""

    def __init__(self, channels: int, epsilon: float = 1e-5):
        self.weight = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "*batch channels"]) -> Float[Array, "*batch channels"]:
        wide = x.astype(jnp.float32)
        wide -= jnp.mean(wide, axis=-1, keepdims=True)
        scale = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + self.epsilon)
        weight, bias = (part[...].astype(jnp.float32) for part in (self.weight, self.bias))
        return (wide * scale * weight + bias).astype(x.dtype)
