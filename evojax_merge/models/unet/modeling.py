"""A UNet predicts the noise, or the velocity, in latents (Rombach et al., 2022, arXiv 2112.10752).

Its larger form reads a pooled text and the sizes of the picture as well (Podell et al., 2023, arXiv
2307.01952).
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from evojax_merge.models.probe import attach
from evojax_merge.models.unet.blocks import Down, Mid, Up
from evojax_merge.models.unet.config import UNetConfig
from evojax_merge.models.unet.initial import draw
from evojax_merge.models.unet.layers import Conv, GroupNorm, Linear, numbered
from evojax_merge.models.unet.params import layout, unet_shapes
from evojax_merge.models.unet.timesteps import sinusoids
from evojax_merge.params.types import Array, Float, Int, Params, PRNGKey

Latents = Float[Array, "batch channels height width"]
"""Pictures as an autoencoder encodes them, times its scaling factor."""


class Embedding(nnx.Module):
    """linear_2(silu(linear_1(x)))."""

    def __init__(self, inputs: int, width: int):
        self.linear_1 = Linear(inputs, width)
        self.linear_2 = Linear(width, width)

    def __call__(self, x: Float[Array, "batch inputs"]) -> Float[Array, "batch width"]:
        return self.linear_2(jax.nn.silu(self.linear_1(x)))


class UNet(nnx.Module):
    """Blocks down to the coarsest resolution and up again, and the embedding of the timestep."""

    def __init__(self, config: UNetConfig):
        levels = range(len(config.channels))
        self.conv_in = Conv(config.in_channels, config.channels[0])
        self.time_embedding = Embedding(config.channels[0], config.time_width)
        if config.conditions is not None:
            self.add_embedding = Embedding(config.conditions.width, config.time_width)
        self.down_blocks = numbered([Down(config, level) for level in levels])
        self.mid_block = Mid(config)
        self.up_blocks = numbered([Up(config, level) for level in reversed(levels)])
        self.conv_norm_out = GroupNorm(config.channels[0], config.norm_groups, config.norm_epsilon)
        self.conv_out = Conv(config.channels[0], config.out_channels)

    def __call__(
        self,
        latents: Latents,
        timesteps: Float[Array, "batch steps"],
        context: Float[Array, "batch tokens context"],
        conditions: Float[Array, "batch conditions"] | None,
    ) -> Float[Array, "batch outputs height width"]:
        time = self.time_embedding(timesteps)
        if conditions is not None:
            time += self.add_embedding(conditions)
        skips = [self.conv_in(latents.transpose(0, 2, 3, 1))]
        for down in self.down_blocks.values():
            skips += down(skips[-1], time, context)
        x = self.mid_block(skips[-1], time, context)
        for up in self.up_blocks.values():
            x = up(x, skips, time, context)
        return self.conv_out(jax.nn.silu(self.conv_norm_out(x))).transpose(0, 3, 1, 2)


def forward(
    config: UNetConfig,
    params: Params,
    latents: Latents,
    timesteps: Float[Array, " batch"] | Int[Array, " batch"],
    context: Float[Array, "batch tokens context"],
    pooled: Float[Array, "batch features"] | None = None,
    time_ids: Float[Array, "batch 6"] | None = None,
    *,
    probed: bool = False,
) -> Float[Array, "batch outputs height width"]:
    """Predict what the UNet was trained to predict, with ``out_channels`` channels.

    The result has the dtype of the parameters.

    Args:
        config: The model.
        params: The parameter tree of the model.
        latents: Noisy latents, scaled as the sampler says, of any height and width.
        timesteps: The timestep of each, from 0 to 999 mostly, whole or not.
        context: The states of a text encoder, which are all attended to.
        pooled: A vector for each text, where the model has conditions.
        time_ids: Six numbers for each picture: height and width of the original, top and left
            of the crop, height and width of the result.
        probed: Whether the parameters hold probes (see `evojax_merge.models.probe`).

    Raises:
        ValueError: The latents or the conditions are not what the model reads.
    """
    dtype = params["conv_in"]["weight"].dtype
    _check(config, latents, context, pooled, time_ids)
    encode = functools.partial(
        sinusoids, cosine_first=config.cosine_first, frequency_shift=config.frequency_shift
    )
    conditions = None
    if config.conditions is not None and pooled is not None and time_ids is not None:
        numbers = encode(time_ids, config.conditions.number_width).reshape(len(latents), -1)
        conditions = jnp.concatenate([pooled.astype(dtype), numbers.astype(dtype)], axis=-1)
    steps = encode(timesteps.astype(jnp.float32), config.channels[0]).astype(dtype)
    unet = nnx.merge(_graph(config, probed), params)
    return unet(latents.astype(dtype), steps, context.astype(dtype), conditions)


def init_params(config: UNetConfig, key: PRNGKey) -> Params:
    """Draw random parameters: weights uniform within 1/√inputs, norms 1, biases 0."""
    return draw(unet_shapes(config), key)


@functools.cache
def _graph(config: UNetConfig, probed: bool) -> nnx.GraphDef:
    probes = set(layout(config).linear_inputs.values()) if probed else ()
    return nnx.graphdef(nnx.eval_shape(lambda: attach(UNet(config), probes)))


def _check(
    config: UNetConfig,
    latents: Array,
    context: Array,
    pooled: Array | None,
    time_ids: Array | None,
) -> None:
    """Check that the model reads such inputs."""
    if latents.shape[1] != config.in_channels:
        raise ValueError(
            f"latents of {latents.shape[1]} channels are not what this UNet reads, which is "
            f"{config.in_channels} (in_channels of its config.json)"
        )
    if context.shape[-1] != config.context_width:
        raise ValueError(
            f"texts of width {context.shape[-1]} are not what this UNet reads, which is "
            f"{config.context_width} (cross_attention_dim of its config.json)"
        )
    given = [value for value in (pooled, time_ids) if value is not None]
    if len(given) != (0 if config.conditions is None else 2):
        needs = "neither pooled texts nor time_ids" if config.conditions is None else "both"
        raise ValueError(
            f"of pooled texts and time_ids this UNet reads {needs} "
            f"(addition_embed_type of its config.json); got {len(given)}"
        )
    if pooled is not None and pooled.shape[-1] != config.pooled_width:
        raise ValueError(
            f"pooled texts of width {pooled.shape[-1]} are not what this UNet reads, which is "
            f"{config.pooled_width}"
        )
