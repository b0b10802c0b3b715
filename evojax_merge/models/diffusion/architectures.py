"""The configurations of the published architectures, which a single file does not say.

They are those of stabilityai/stable-diffusion-xl-base-1.0, stable-diffusion-v1-5 and
stabilityai/stable-diffusion-2-1 and -2-1-base.
"""

from collections.abc import Mapping
from typing import Any

from evojax_merge.models.diffusion.config import SCHEDULER, TEXT, TEXT_2, UNET, VAE

_UNET: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "act_fn": "silu",
    "center_input_sample": False,
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "out_channels": 4,
}

_FOUR_LEVELS: dict[str, Any] = _UNET | {
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
}

_VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 512,
    "scaling_factor": 0.18215,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}

_CLIP_L: dict[str, Any] = {
    "architectures": ["CLIPTextModel"],
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "dropout": 0.0,
    "eos_token_id": 2,
    "hidden_act": "quick_gelu",
    "hidden_size": 768,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 77,
    "model_type": "clip_text_model",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 1,
    "projection_dim": 768,
    "vocab_size": 49408,
}

# OpenCLIP's ViT-H has 24 layers, the last of which nothing reads.
_OPEN_CLIP_H: dict[str, Any] = _CLIP_L | {
    "hidden_act": "gelu",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 23,
    "projection_dim": 512,
}

_OPEN_CLIP_G: dict[str, Any] = _CLIP_L | {
    "architectures": ["CLIPTextModelWithProjection"],
    "hidden_act": "gelu",
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_attention_heads": 20,
    "num_hidden_layers": 32,
    "projection_dim": 1280,
}

_NOISE: dict[str, Any] = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}

ARCHITECTURES: Mapping[str, Mapping[str, Any]] = {
    "SDXL": {
        UNET: _UNET
        | {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "attention_head_dim": [5, 10, 20],
            "block_out_channels": [320, 640, 1280],
            "cross_attention_dim": 2048,
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "projection_class_embeddings_input_dim": 2816,
            "sample_size": 128,
            "transformer_layers_per_block": [1, 2, 10],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "use_linear_projection": True,
        },
        VAE: _VAE | {"force_upcast": True, "sample_size": 1024, "scaling_factor": 0.13025},
        TEXT: _CLIP_L,
        TEXT_2: _OPEN_CLIP_G,
        SCHEDULER: {"_class_name": "EulerDiscreteScheduler"}
        | _NOISE
        | {
            "interpolation_type": "linear",
            "timestep_spacing": "leading",
            "use_karras_sigmas": False,
        },
    },
    "SD 1.x": {
        UNET: _FOUR_LEVELS
        | {"attention_head_dim": 8, "cross_attention_dim": 768, "sample_size": 64},
        VAE: _VAE,
        TEXT: _CLIP_L,
        SCHEDULER: {"_class_name": "PNDMScheduler"} | _NOISE,
    },
    "SD 2.x": {
        UNET: _FOUR_LEVELS
        | {
            "attention_head_dim": [5, 10, 20, 20],
            "cross_attention_dim": 1024,
            "sample_size": 96,
            "upcast_attention": True,
            "use_linear_projection": True,
        },
        VAE: _VAE | {"sample_size": 768},
        TEXT: _OPEN_CLIP_H,
        SCHEDULER: {"_class_name": "DDIMScheduler"} | _NOISE,
    },
}
"""The configurations of the parts by architecture, each under the name of its folder."""

BY_CONTEXT_WIDTH = {
    parts[UNET]["cross_attention_dim"]: name for name, parts in ARCHITECTURES.items()
}
"""The width of the texts that a UNet attends to -> the architecture."""
