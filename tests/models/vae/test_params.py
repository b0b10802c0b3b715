"""Configuration and layout of autoencoders against diffusers' own model."""

import math

import diffusers
import pytest
import torch

from evojax_merge.models import family_of
from evojax_merge.models.vae.config import VAEConfig
from evojax_merge.models.vae.params import layout
from tests.unet_factory import SDXL_VAE, VAES


def test_sdxls_autoencoder_has_the_tensors_of_diffusers():
    with torch.device("meta"):
        model = diffusers.AutoencoderKL.from_config(SDXL_VAE)
    theirs = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    slots = layout(VAEConfig.from_hf(SDXL_VAE)).slots
    assert {name: slot.shape for name, slot in slots.items()} == theirs
    assert len(slots) == 248
    assert sum(math.prod(slot.shape) for slot in slots.values()) == 83_653_863


def test_numbers_around_the_latents_are_read():
    config = VAEConfig.from_hf({**SDXL_VAE, "shift_factor": 0.5, "force_upcast": False})
    assert (config.scaling_factor, config.shift_factor, config.factor) == (0.13025, 0.5, 8)
    assert not config.force_upcast
    silent = VAEConfig.from_hf(SDXL_VAE | {"shift_factor": None})
    assert silent.shift_factor == 0
    assert silent.force_upcast


def test_attention_under_the_names_of_earlier_releases():
    names = ["encoder.mid_block.attentions.0.query.weight"]
    older = layout(VAEConfig.from_files(VAES["small"], names))
    newer = layout(VAEConfig.from_files(VAES["small"], []))
    assert older.shapes == newer.shapes
    changed = {
        name.rpartition(".")[0].rpartition(".attentions.0.")[2]: path
        for name, path in zip(older.slots, newer.slots, strict=True)
        if name != path
    }
    assert {name: path.split("attentions.0.")[1] for name, path in changed.items()} == {
        "query": "to_q.weight",
        "key": "to_k.weight",
        "value": "to_v.weight",
        "proj_attn": "to_out.0.weight",
    }
    groups = older.groups
    assert groups["decoder.mid_block.attentions.0.to_q.weight"] == "attention"
    assert groups["decoder.mid_block.attentions.0.group_norm.weight"] == "norm"
    assert groups["quant_conv.weight"] == "conv"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"act_fn": "gelu"}, "act_fn 'gelu' is not supported; supported is 'silu' or 'swish'"),
        ({"latents_mean": [0.1]}, r"latents_mean \[0.1\] is not supported; supported is null"),
        (
            {"up_block_types": ["UpDecoderBlock2D", "AttnUpDecoderBlock2D"]},
            "up_block_types .*AttnUpDecoderBlock2D.* is not supported",
        ),
        ({"down_block_types": ["DownEncoderBlock2D"]}, "names 1 blocks, and block_out_channels 2"),
        ({"norm_num_groups": 32}, "block_out_channels 16 is no multiple of norm_num_groups 32"),
        ({"scaling_factor": -1}, "scaling_factor must be a finite number from 0 on; got -1"),
        ({"force_upcast": 1}, "force_upcast must be true or false; got 1"),
        ({"_class_name": "AutoencoderTiny"}, "'AutoencoderTiny' is not AutoencoderKL"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        VAEConfig.from_hf({**VAES["small"], **changes})


def test_the_family_leaves_others_to_their_names():
    assert family_of(VAES["small"]).name == "vae"
    assert family_of({**VAES["small"], "latents_mean": [0.0]}).name == "named"
    assert family_of({**VAES["small"], "_class_name": "AutoencoderTiny"}).name == "named"
