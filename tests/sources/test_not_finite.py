"""Weights that are not finite are named by the path of the model and the name of the tensor."""

import re

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from evojax_merge.operators import linear
from evojax_merge.sources.ingredients import load_ingredients, load_members
from evojax_merge.sources.plan import plan, plan_pool
from tests.checkpoints_factory import tiny_config, write_checkpoint
from tests.clip_factory import clip_config, write_clip
from tests.llava_factory import llava_config, write_llava
from tests.pipelines_factory import pipeline_configs, pipeline_tensors, write_folder, write_single
from tests.qwen_vl_factory import qwen_vl_config, write_qwen_vl

DRAWING = pipeline_configs()
UNET = "unet/diffusion_pytorch_model.safetensors"
FAMILIES = {
    "decoder": (
        lambda place, seed: write_checkpoint(place, tiny_config(), seed=seed),
        "model.safetensors",
        "model.layers.1.mlp.up_proj.weight",
    ),
    "clip": (
        lambda place, seed: write_clip(place, clip_config(), seed=seed),
        "model.safetensors",
        "vision_model.encoder.layers.1.mlp.fc1.bias",
    ),
    "llava": (
        lambda place, seed: write_llava(place, llava_config()),
        "model.safetensors",
        "language_model.model.layers.1.mlp.up_proj.weight",
    ),
    "qwen_vl": (
        lambda place, seed: write_qwen_vl(place, qwen_vl_config()),
        "model.safetensors",
        "model.layers.1.mlp.up_proj.weight",
    ),
    "folder": (
        lambda place, seed: write_folder(place, DRAWING, pipeline_tensors(DRAWING, seed)),
        UNET,
        "conv_in.bias",
    ),
    "single file": (
        lambda place, seed: write_single(place, DRAWING, pipeline_tensors(DRAWING, seed)),
        "",
        "model.diffusion_model.input_blocks.0.0.bias",
    ),
}


def broken_at(file, tensor):
    """Put one NaN into a tensor of a file."""
    held = load_file(file)
    held[tensor] = held[tensor].copy()
    held[tensor].flat[0] = np.nan
    with safe_open(file, "np") as opened:
        metadata = opened.metadata()
    save_file(held, file, metadata)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_path_and_the_tensor_are_named(family, tmp_path):
    write, file, tensor = FAMILIES[family]
    suffix = "" if file else ".safetensors"
    places = [tmp_path / f"m{number}{suffix}" for number in range(2)]
    for seed, place in enumerate(places):
        write(place, seed)
    broken_at(places[1] / file if file else places[1], tensor)
    loaded = load_ingredients(plan(None, [str(place) for place in places]))
    named = rf"{re.escape(str(places[1]))} holds NaN .*\n  (unet/)?{re.escape(tensor)}: 1 of "
    with pytest.raises(ValueError, match=named):
        loaded.statistics(linear())
    with pytest.raises(ValueError, match=named):
        loaded.check_finite()


def test_those_of_a_pool_of_layers_are_named(tmp_path):
    write, file, tensor = FAMILIES["decoder"]
    for seed, name in enumerate(("one", "other")):
        write(tmp_path / name, seed)
    broken_at(tmp_path / "other" / file, tensor)
    places = [str(tmp_path / name) for name in ("one", "other")]
    prepared = plan_pool(None, places, ["one", "other"])
    with pytest.raises(ValueError, match=rf"other holds NaN .*\n  {re.escape(tensor)}: 1 of "):
        load_members(prepared)
