"""What distinguishes one autoencoder of pictures from another, read from its ``config.json``."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, Self

from evojax_merge.models.unet.fields import (
    channels_of,
    first_refused,
    flag,
    number,
    positive,
    refusal,
    sizes,
)

CLASS_NAME = "AutoencoderKL"

# What diffusers assumes where a config.json is silent.
_DEFAULTS: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [64],
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 32,
    "scaling_factor": 0.18215,
    "shift_factor": None,
    "force_upcast": True,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "mid_block_add_attention": True,
}

_COMPUTED: dict[str, tuple[Any, ...]] = {
    "act_fn": ("silu", "swish"),
    "latents_mean": (None,),
    "latents_std": (None,),
}
_BLOCK_TYPES: dict[str, tuple[Any, ...]] = {
    "down_block_types": ("DownEncoderBlock2D",),
    "up_block_types": ("UpDecoderBlock2D",),
}


def computes(config: Mapping[str, Any]) -> bool:
    """Tell whether a ``config.json`` names nothing that these autoencoders leave out."""
    return first_refused(config, _COMPUTED, _BLOCK_TYPES) is None


@dataclasses.dataclass(frozen=True)
class VAEConfig:
    """An autoencoder whose latents are nearly normal (Rombach et al., 2022, arXiv 2112.10752).

    Attributes:
        in_channels: The channels of the pictures that it encodes.
        out_channels: The channels of the pictures that it decodes.
        channels: The width of each level of resolution, the finest first.
        layers: How many residual blocks a level of the encoder has. The decoder's has one more.
        latent_channels: The channels of its latents.
        norm_groups: The number of groups of every group norm.
        sample_size: The height and width of the pictures that it was trained on, if known.
        scaling_factor: What a UNet's latents are the encoder's means times, after the shift.
        shift_factor: What is taken from the encoder's means before they are scaled.
        force_upcast: Whether float16 is too narrow for it, so that it must run in float32.
        encodes_by_convolution: Whether means and variances leave through a ``quant_conv``.
        decodes_by_convolution: Whether latents enter through a ``post_quant_conv``.
        attends: Whether attention stands in the middle of the encoder and of the decoder.
        older_names: Whether the tensors of attention are called ``query``, ``key``, ``value`` and
            ``proj_attn``, as diffusers wrote them before version 0.18.
    """

    in_channels: int
    out_channels: int
    channels: tuple[int, ...]
    layers: int
    latent_channels: int
    norm_groups: int
    sample_size: tuple[int, int] | None
    scaling_factor: float
    shift_factor: float
    force_upcast: bool
    encodes_by_convolution: bool
    decodes_by_convolution: bool
    attends: bool
    older_names: bool = False

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """Read the ``config.json`` of diffusers' ``AutoencoderKL``.

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
        for name in _BLOCK_TYPES:
            if len(config.get(name, channels)) != len(channels):
                raise ValueError(
                    f"config.json: {name} names {len(config[name])} blocks, and "
                    f"block_out_channels {len(channels)}"
                )
        shift = 0.0 if config["shift_factor"] is None else number(config, "shift_factor")
        return cls(
            in_channels=positive(config, "in_channels"),
            out_channels=positive(config, "out_channels"),
            channels=channels,
            layers=positive(config, "layers_per_block"),
            latent_channels=positive(config, "latent_channels"),
            norm_groups=groups,
            sample_size=sizes(config, "sample_size"),
            scaling_factor=number(config, "scaling_factor"),
            shift_factor=shift,
            force_upcast=flag(config, "force_upcast"),
            encodes_by_convolution=flag(config, "use_quant_conv"),
            decodes_by_convolution=flag(config, "use_post_quant_conv"),
            attends=flag(config, "mid_block_add_attention"),
        )

    @classmethod
    def from_files(cls, config: Mapping[str, Any], stored: Collection[str]) -> Self:
        """Read a ``config.json``, and take the spelling of the tensors' names from the files.

        Args:
            config: The content of ``config.json``.
            stored: The names of the stored tensors.

        Raises:
            ValueError: `from_hf` refuses the ``config.json``.
        """
        found = cls.from_hf(config)
        older = any(name.endswith(".attentions.0.query.weight") for name in stored)
        return dataclasses.replace(found, older_names=older)

    @property
    def factor(self) -> int:
        """How many pixels of a picture one of the latents stands for, along a side."""
        return 2 ** (len(self.channels) - 1)
