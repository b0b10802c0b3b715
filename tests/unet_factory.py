"""Tiny random UNets and autoencoders, made by diffusers' own torch models."""

from collections.abc import Mapping
from typing import Any

import diffusers
import jax.numpy as jnp
import numpy as np
import torch

from evojax_merge.models import family_of
from evojax_merge.params.tree import unflatten
from evojax_merge.params.types import Params

CONTEXT = 24
POOLED = 20

_TEXT_TIME = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + POOLED,
}

SDXL: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 128,
    "block_out_channels": [320, 640, 1280],
    "layers_per_block": 2,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [5, 10, 20],
    "transformer_layers_per_block": [1, 2, 10],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
"""What SDXL's ``config.json`` says of its architecture."""

SDXL_VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
}

_TINY = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 8,
    "cross_attention_dim": CONTEXT,
    "norm_num_groups": 8,
}

UNETS: dict[str, dict[str, Any]] = {
    "small": {
        **_TINY,
        **_TEXT_TIME,
        "block_out_channels": [16, 32],
        "layers_per_block": 1,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "attention_head_dim": [2, 4],
        "transformer_layers_per_block": [1, 2],
        "use_linear_projection": True,
    },
    "sdxl": {
        **_TINY,
        **_TEXT_TIME,
        "block_out_channels": [16, 32, 48],
        "down_block_types": SDXL["down_block_types"],
        "up_block_types": SDXL["up_block_types"],
        "attention_head_dim": [2, 4, 6],
        "transformer_layers_per_block": [1, 2, 3],
        "use_linear_projection": True,
    },
    "sd15": {**_TINY, "block_out_channels": [16, 32, 48, 48], "attention_head_dim": 8},
    "sd2": {
        **_TINY,
        "block_out_channels": [16, 32, 48, 48],
        "attention_head_dim": [2, 4, 6, 6],
        "use_linear_projection": True,
        "upcast_attention": True,
    },
    "inpainting": {
        **_TINY,
        "in_channels": 9,
        "block_out_channels": [24, 32],
        "layers_per_block": 1,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "attention_head_dim": 4,
    },
    "uneven": {
        **_TINY,
        "in_channels": 3,
        "out_channels": 5,
        "block_out_channels": [24, 16, 40],
        "layers_per_block": [1, 3, 2],
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        "attention_head_dim": [3, 2, 5],
        "transformer_layers_per_block": [2, 1, 3],
        "norm_eps": 1e-3,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
    },
    "one-level": {
        **_TINY,
        "block_out_channels": [16],
        "layers_per_block": 1,
        "down_block_types": ["CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D"],
        "attention_head_dim": 1,
    },
}

_VAE = {"_class_name": "AutoencoderKL", "norm_num_groups": 8}

VAES: dict[str, dict[str, Any]] = {
    "small": {
        **_VAE,
        "block_out_channels": [16, 24],
        "down_block_types": ["DownEncoderBlock2D"] * 2,
        "up_block_types": ["UpDecoderBlock2D"] * 2,
    },
    "sdxl": {
        **_VAE,
        "block_out_channels": [8, 16, 24, 24],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
    },
    "without-convolutions": {
        **_VAE,
        "block_out_channels": [16, 24],
        "down_block_types": ["DownEncoderBlock2D"] * 2,
        "up_block_types": ["UpDecoderBlock2D"] * 2,
        "latent_channels": 6,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "shift_factor": 0.1,
    },
    "without-attention": {
        **_VAE,
        "block_out_channels": [16, 24],
        "down_block_types": ["DownEncoderBlock2D"] * 2,
        "up_block_types": ["UpDecoderBlock2D"] * 2,
        "layers_per_block": 3,
        "mid_block_add_attention": False,
    },
}


def torch_model(hf_config: Mapping[str, Any], seed: int = 0) -> Any:
    """A torch model of a configuration, with random numbers in norms and biases as well."""
    torch.manual_seed(seed)
    kind = getattr(diffusers, hf_config["_class_name"])
    model = kind.from_config(dict(hf_config)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight += 0.1 * torch.randn_like(weight)
    return model


def read(hf_config: Mapping[str, Any], model: Any) -> tuple[Any, Params]:
    """The configuration and the parameters of a torch model, as families have them."""
    family = family_of(hf_config)
    config = family.config_from_hf(hf_config)
    layout = family.layout(config)
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    assert layout.slots.keys() == tensors.keys()
    leaves = {path: np.zeros(shape, np.float32) for path, shape in layout.shapes.items()}
    for name, slot in layout.slots.items():
        leaves[slot.path][... if slot.layer is None else slot.layer] = tensors[name]
    return config, unflatten({path: jnp.asarray(leaf) for path, leaf in leaves.items()})


def unet_inputs(
    config: Any, height: int = 8, width: int = 8, seed: int = 0
) -> tuple[np.ndarray, ...]:
    """Two noisy latents, their timesteps and texts, and what else the model reads."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal((2, *shape)).astype(np.float32)

    inputs = (
        draw(config.in_channels, height, width),
        np.array([3, 871]),
        draw(7, config.context_width),
    )
    if config.conditions is None:
        return inputs
    sizes = np.array([[512, 384, 0, 3, 512, 512], [64, 64, 8, 0, 96, 64]], np.float32)
    return (*inputs, draw(config.pooled_width), sizes)


def torch_unet(model: Any, inputs: tuple[np.ndarray, ...]) -> np.ndarray:
    """What a torch model predicts."""
    latents, timesteps, context, *conditions = map(torch.from_numpy, inputs)
    added = dict(zip(("text_embeds", "time_ids"), conditions, strict=False))
    with torch.no_grad():
        return model(latents, timesteps, context, added_cond_kwargs=added).sample.numpy()
