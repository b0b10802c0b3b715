"""What a UNet's ``config.json`` says, and what is refused of it."""

import pytest

from evojax_merge.models import family_of
from evojax_merge.models.unet.config import Conditions, UNetConfig
from tests.unet_factory import SDXL, UNETS


def test_sdxl_is_read():
    config = UNetConfig.from_hf(SDXL)
    assert config.heads == (5, 10, 20)
    assert config.depths == (1, 2, 10)
    assert config.layers == (2, 2, 2)
    assert config.crosses_down == config.crosses_up == (False, True, True)
    assert config.conditions == Conditions(256, 2816)
    assert (config.pooled_width, config.time_width, config.sample_size) == (1280, 1280, (128, 128))
    assert (config.norm_groups, config.norm_epsilon) == (32, 1e-5)


def test_what_a_silent_file_means_is_stable_diffusion_1():
    config = UNetConfig.from_hf({"_class_name": "UNet2DConditionModel", "cross_attention_dim": 768})
    assert config.channels == (320, 640, 1280, 1280)
    assert config.heads == (8, 8, 8, 8)
    assert config.crosses_down == config.crosses_up == (True, True, True, False)
    assert config.conditions is config.pooled_width is config.sample_size is None
    assert not config.linear_projection


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"only_cross_attention": True}, "only_cross_attention True is not supported; .* False"),
        ({"class_embed_type": "timestep"}, "class_embed_type 'timestep' is not .* is null"),
        ({"num_class_embeds": 1000}, "num_class_embeds 1000 is not supported; supported is null"),
        (
            {"addition_embed_type": "image"},
            "addition_embed_type 'image' is not supported; supported is null or 'text_time'",
        ),
        (
            {"down_block_types": ["DownBlock2D", "SimpleCrossAttnDownBlock2D"]},
            r"down_block_types \['DownBlock2D', 'Simple.* supported is 'DownBlock2D' or 'Cross",
        ),
        ({"up_block_types": ["UpBlock2D"]}, "up_block_types names 1 blocks, .* 2"),
        ({"mid_block_type": None}, "mid_block_type None is not supported"),
        ({"time_cond_proj_dim": 256}, "time_cond_proj_dim 256 is not supported"),
        ({"act_fn": "gelu"}, "act_fn 'gelu' is not supported"),
        ({"resnet_time_scale_shift": "scale_shift"}, "resnet_time_scale_shift 'scale_shift'"),
        ({"attention_head_dim": [2, 5]}, "attention_head_dim 5 is the number of heads"),
        ({"attention_head_dim": [2]}, "list of one for each of the 2 blocks; got "),
        ({"cross_attention_dim": [24, 24]}, "cross_attention_dim must be a positive whole number"),
        ({"transformer_layers_per_block": [[1], 2]}, "transformer_layers_per_block must be"),
        ({"block_out_channels": 16}, "block_out_channels must be a list of whole numbers; got 16"),
        ({"norm_num_groups": 32}, "block_out_channels 16 is no multiple of norm_num_groups 32"),
        ({"norm_eps": float("nan")}, "norm_eps must be a finite number from 0 on; got nan"),
        ({"use_linear_projection": "yes"}, "use_linear_projection must be true or false"),
        ({"projection_class_embeddings_input_dim": 48}, "48 leaves no room for a text"),
        ({"addition_time_embed_dim": None}, "addition_time_embed_dim must be a positive whole"),
        ({"_class_name": "UNet2DModel"}, "_class_name 'UNet2DModel' is not UNet2DConditionModel"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        UNetConfig.from_hf({**UNETS["small"], **changes})


def test_the_family_leaves_other_architectures_to_their_names():
    assert family_of(UNETS["small"]).name == "unet"
    for changes in ({"class_embed_type": "timestep"}, {"_class_name": "UNet2DModel"}):
        assert family_of({**UNETS["small"], **changes}).name == "named"
