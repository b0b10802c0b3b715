"""The architectures of the images experiment, each of a class of diffusers or transformers."""

from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModel,
)

from experiments.images.tokenizer import LENGTH
from experiments.images.world import SIDE

TEXT, PROJECTION = 48, 64
"""The width of each text encoder, and of the features of a whole prompt."""

LATENT = SIDE // 2
"""The height and width of latents."""

TIME_IDS = (float(SIDE), float(SIDE), 0.0, 0.0, float(SIDE), float(SIDE))


def unet() -> UNet2DConditionModel:
    """Make a UNet of SDXL's architecture with two levels, of 1.6 M parameters."""
    return UNet2DConditionModel(
        sample_size=LATENT,
        block_out_channels=(40, 80),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1),
        attention_head_dim=(2, 4),
        cross_attention_dim=2 * TEXT,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + PROJECTION,
        norm_num_groups=8,
    )


def autoencoder() -> AutoencoderKL:
    """Make an autoencoder that halves the sides of pictures."""
    return AutoencoderKL(
        sample_size=SIDE,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=8,
    )


def text_encoders(tokens: int) -> tuple[CLIPTextModel, CLIPTextModelWithProjection]:
    """Make both text encoders, for a number of tokens of which the last is the end of a prompt."""
    shared = {
        "vocab_size": tokens,
        "hidden_size": TEXT,
        "intermediate_size": 4 * TEXT,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": LENGTH,
        "projection_dim": PROJECTION,
        "bos_token_id": tokens - 2,
        "eos_token_id": tokens - 1,
        "pad_token_id": tokens - 1,
    }
    return (
        CLIPTextModel(CLIPTextConfig(hidden_act="quick_gelu", **shared)),
        CLIPTextModelWithProjection(CLIPTextConfig(hidden_act="gelu", **shared)),
    )


def judge() -> CLIPVisionModel:
    """Make the vision tower of a CLIP, of 0.16 M parameters."""
    return CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=256,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=SIDE,
            patch_size=4,
        )
    )


def scheduler() -> EulerDiscreteScheduler:
    """Make SDXL's noise, for a UNet that predicts velocities and is sampled at trailing times."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )
