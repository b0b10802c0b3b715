"""What distinguishes one diffusion UNet from another, read from its ``config.json``."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from evojax_merge.models.unet.fields import (
    channels_of,
    first_refused,
    flag,
    number,
    per_block,
    positive,
    refusal,
    sizes,
)

CLASS_NAME = "UNet2DConditionModel"

_CROSS_DOWN, _CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"

# What diffusers assumes where a config.json is silent.
_DEFAULTS: dict[str, Any] = {
    "sample_size": None,
    "in_channels": 4,
    "out_channels": 4,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "down_block_types": [*[_CROSS_DOWN] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *[_CROSS_UP] * 3],
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "cross_attention_dim": 1280,
    "transformer_layers_per_block": 1,
    "attention_head_dim": 8,
    "use_linear_projection": False,
    "addition_embed_type": None,
    "addition_time_embed_dim": None,
    "projection_class_embeddings_input_dim": None,
}

# The values that are computed of the fields that tell other architectures apart; the first is that
# of a silent config.json. Dropout and scales of a head that is not there change nothing.
_COMPUTED: dict[str, tuple[Any, ...]] = {
    "mid_block_type": ("UNetMidBlock2DCrossAttn",),
    "addition_embed_type": (None, "text_time"),
    "act_fn": ("silu", "swish"),
    "center_input_sample": (False,),
    "only_cross_attention": (False,),
    "mid_block_only_cross_attention": (None, False),
    "downsample_padding": (1,),
    "mid_block_scale_factor": (1,),
    "reverse_transformer_layers_per_block": (None,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "num_attention_heads": (None,),
    "dual_cross_attention": (False,),
    "class_embed_type": (None,),
    "num_class_embeds": (None,),
    "class_embeddings_concat": (False,),
    "resnet_time_scale_shift": ("default",),
    "resnet_skip_time_act": (False,),
    "resnet_out_scale_factor": (1,),
    "time_embedding_type": ("positional",),
    "time_embedding_dim": (None,),
    "time_embedding_act_fn": (None,),
    "timestep_post_act": (None,),
    "time_cond_proj_dim": (None,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "attention_type": ("default",),
    "cross_attention_norm": (None,),
}
_BLOCK_TYPES: dict[str, tuple[Any, ...]] = {
    "down_block_types": ("DownBlock2D", _CROSS_DOWN),
    "up_block_types": ("UpBlock2D", _CROSS_UP),
}


def computes(config: Mapping[str, Any]) -> bool:
    """Tell whether a ``config.json`` names nothing that these UNets leave out."""
    return first_refused(config, _COMPUTED, _BLOCK_TYPES) is None


@dataclasses.dataclass(frozen=True)
class Conditions:
    """What SDXL adds to the timestep: a pooled text, and numbers such as the size of the picture.

    Attributes:
        number_width: The width of the sinusoids of one number.
        width: The width of the pooled text and of the sinusoids of all numbers together.
    """

    number_width: int
    width: int


@dataclasses.dataclass(frozen=True)
class UNetConfig:
    """A UNet for latents, conditioned on a text (Rombach et al., 2022, arXiv 2112.10752).

    Tuples have an entry for each level of resolution, the finest first.

    Attributes:
        sample_size: The height and width of the latents that it was trained on, if known.
        in_channels: The channels of what it reads. Inpainting reads more than it writes.
        out_channels: The channels of what it writes.
        channels: The width of each level.
        layers: How many residual blocks each level has on the way down. On the way up it has one
            more.
        heads: The number of attention heads.
        depths: How many transformer blocks stand one after another in each transformer.
        crosses_down: Whether the level has transformers on the way down.
        crosses_up: Whether the level has transformers on the way up.
        context_width: The width of what is attended to: a token of the text.
        linear_projection: Whether a transformer is entered and left by linear layers. Elsewhere it
            is by convolutions of one pixel, whose weights have two more axes.
        norm_groups: The number of groups of every group norm.
        norm_epsilon: The number that keeps variances of residual blocks from 0.
        cosine_first: Whether sinusoids begin with the cosines.
        frequency_shift: What is taken from the number of frequencies, by which the log of their
            range is divided.
        conditions: What is added to the timestep, or None.
    """

    sample_size: tuple[int, int] | None
    in_channels: int
    out_channels: int
    channels: tuple[int, ...]
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    depths: tuple[int, ...]
    crosses_down: tuple[bool, ...]
    crosses_up: tuple[bool, ...]
    context_width: int
    linear_projection: bool
    norm_groups: int
    norm_epsilon: float
    cosine_first: bool
    frequency_shift: float
    conditions: Conditions | None

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """Read the ``config.json`` of diffusers' ``UNet2DConditionModel``.

        ``attention_head_dim`` is the number of heads there, and not their size.

        Raises:
            ValueError: The model is another, or of a kind that this family does not compute.
        """
        if (name := config.get("_class_name", CLASS_NAME)) != CLASS_NAME:
            raise ValueError(f"config.json: _class_name {name!r} is not {CLASS_NAME}")
        if (problem := first_refused(config, _COMPUTED, _BLOCK_TYPES)) is not None:
            raise refusal(*problem)
        config = {**_DEFAULTS, **config}
        groups = positive(config, "norm_num_groups")
        channels = channels_of(config, groups)
        heads = per_block(config, "attention_head_dim", len(channels))
        for width, count in zip(channels, heads, strict=True):
            if width % count:
                raise ValueError(
                    f"config.json: attention_head_dim {count} is the number of heads, of which "
                    f"block_out_channels {width} is no multiple"
                )
        down, up = (_types(config, name, len(channels)) for name in _BLOCK_TYPES)
        return cls(
            sample_size=sizes(config, "sample_size"),
            in_channels=positive(config, "in_channels"),
            out_channels=positive(config, "out_channels"),
            channels=channels,
            layers=per_block(config, "layers_per_block", len(channels)),
            heads=heads,
            depths=per_block(config, "transformer_layers_per_block", len(channels)),
            crosses_down=tuple(kind == _CROSS_DOWN for kind in down),
            crosses_up=tuple(kind == _CROSS_UP for kind in reversed(up)),
            context_width=positive(config, "cross_attention_dim"),
            linear_projection=flag(config, "use_linear_projection"),
            norm_groups=groups,
            norm_epsilon=number(config, "norm_eps"),
            cosine_first=flag(config, "flip_sin_to_cos"),
            frequency_shift=number(config, "freq_shift"),
            conditions=_conditions(config),
        )

    @property
    def time_width(self) -> int:
        """The width of the embedding of the timestep."""
        return 4 * self.channels[0]

    @property
    def pooled_width(self) -> int | None:
        """The width of the pooled text that is read beside six numbers, or None."""
        if self.conditions is None:
            return None
        return self.conditions.width - 6 * self.conditions.number_width


def _types(config: Mapping[str, Any], name: str, count: int) -> list[str]:
    found = [*config[name]]
    if len(found) != count:
        raise ValueError(
            f"config.json: {name} names {len(found)} blocks, and block_out_channels {count}"
        )
    return found


def _conditions(config: Mapping[str, Any]) -> Conditions | None:
    if config["addition_embed_type"] is None:
        return None
    width, number_width = (
        positive(config, name)
        for name in ("projection_class_embeddings_input_dim", "addition_time_embed_dim")
    )
    if width <= 6 * number_width:
        raise ValueError(
            f"config.json: projection_class_embeddings_input_dim {width} leaves no room for a "
            f"text beside six numbers of addition_time_embed_dim {number_width}"
        )
    return Conditions(number_width, width)
