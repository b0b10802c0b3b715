"""Small pipelines of diffusers in torch, and their weights as parameter trees to compare with.

`tests.diffusion_factory` writes such pipelines to disk without torch.
"""

import functools

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
)

from evojax_merge.models.clip import params as clip_params
from evojax_merge.models.clip.config import CLIPConfig
from evojax_merge.models.unet import params as unet_params
from evojax_merge.models.unet.config import UNetConfig
from evojax_merge.models.vae import params as vae_params
from evojax_merge.models.vae.config import VAEConfig
from evojax_merge.params.tree import unflatten
from tests.diffusion_factory import END, make_tokenizer, tokens_of

LENGTH = 12
"""The number of tokens that the text encoders read."""

TOKENS = tokens_of("".join(map(chr, range(ord("!"), ord("~") + 1))))

SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "leading",
    "steps_offset": 1,
}
_READERS = {
    "unet": (UNetConfig.from_hf, unet_params.layout),
    "vae": (VAEConfig.from_hf, vae_params.layout),
    "text_encoder": (CLIPConfig.from_hf, clip_params.layout),
    "text_encoder_2": (CLIPConfig.from_hf, clip_params.layout),
}


@functools.cache
def make_pipeline(
    kind="sdxl", projected_first=False, seed=0, method=EulerDiscreteScheduler, **scheduler
):
    """A pipeline of SDXL's or of Stable Diffusion 1.5's shape, cut down, the same for all tests."""
    torch.manual_seed(seed)
    large = kind == "sdxl"
    tokenizers = [make_tokenizer(TOKENS, LENGTH, pad) for pad in (END, "!")]
    first = _encoder(24, "quick_gelu", projected=projected_first, eos=tokenizers[0].eos_token_id)
    second = _encoder(32, "gelu", projected=True, eos=tokenizers[1].eos_token_id)
    sizes = {"cross_attention_dim": 24}
    if large:
        sizes = {
            "cross_attention_dim": 24 + 32,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + 40,
            "transformer_layers_per_block": [1, 2],
        }
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=[2, 4],
        norm_num_groups=8,
        **sizes,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=0.13025 if large else 0.18215,
        sample_size=32,
    )
    parts = {
        "unet": unet,
        "vae": vae,
        "text_encoder": first,
        "tokenizer": tokenizers[0],
        "scheduler": method(**{**SCHEDULER, **scheduler}),
    }
    for module in (unet, vae, first, second):
        _enliven(module)
    if large:
        pipeline = StableDiffusionXLPipeline(
            **parts, text_encoder_2=second, tokenizer_2=tokenizers[1], add_watermarker=False
        )
    else:
        pipeline = StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@functools.cache
def read_parts(pipeline):
    """The configurations and the parameters of a pipeline's parts, by name."""
    configs, params = {}, {}
    for name, (read, layout) in _READERS.items():
        module = getattr(pipeline, name, None)
        if module is None:
            continue
        config = dict(
            module.config.to_dict() if hasattr(module.config, "to_dict") else module.config
        )
        config["architectures"] = [type(module).__name__]
        configs[name] = read(config)
        params[name] = _tree(layout(configs[name]), module.state_dict())
    return configs, params


def _encoder(width, activation, projected, eos):
    config = CLIPTextConfig(
        vocab_size=eos + 1,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        projection_dim=40,
        hidden_act=activation,
        bos_token_id=eos - 1,
        eos_token_id=eos,
        initializer_factor=2.0,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def _enliven(module):
    """Draw norms and biases, too, which would be 1 and 0."""
    with torch.no_grad():
        for name, value in module.named_parameters():
            if value.ndim == 1:
                value.copy_(
                    0.2 * torch.randn_like(value) + float("norm" in name and "weight" in name)
                )


def _tree(layout, state):
    leaves = {path: np.zeros(shape, np.float32) for path, shape in layout.shapes.items()}
    for name, slot in layout.slots.items():
        value = state[name].float().numpy()
        if slot.layer is None:
            leaves[slot.path][...] = value
        else:
            leaves[slot.path][slot.layer] = value
    return unflatten(leaves)
