"""Pipelines that cannot be used: one clear error each, before weights are read."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from evojax_merge.checkpoints import CheckpointError, export, load_config, load_parts
from evojax_merge.checkpoints.single_files import METADATA
from tests.pipelines_factory import (
    pipeline_configs,
    pipeline_tensors,
    write_folder,
    write_single,
)

CONFIGS = pipeline_configs()
TENSORS = pipeline_tensors(CONFIGS)


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "sdxl", CONFIGS, TENSORS)


def refused(path, message):
    with pytest.raises(CheckpointError, match=message):
        load_config(path)


@pytest.mark.parametrize("part", ["unet", "text_encoder_2", "vae"])
def test_a_folder_without_a_part(part, folder):
    shutil.rmtree(folder / part)
    refused(folder, rf"sdxl: lacks {part}/config\.json, which its model_index\.json names")


def test_a_part_without_weights(folder):
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    refused(folder, r"sdxl/unet: holds no weights: .* nor diffusion_pytorch_model\.safetensors")


def test_a_part_that_is_pickled(folder):
    weights = folder / "unet/diffusion_pytorch_model"
    weights.with_suffix(".safetensors").rename(weights.with_suffix(".bin"))
    refused(folder, r"unet: holds pickled .* convert them with diffusers: DiffusionPipeline")


@pytest.mark.parametrize("end", [".ckpt", ".pt", ".bin"])
def test_a_pickled_file(end, tmp_path):
    (tmp_path / f"model{end}").write_bytes(b"")
    refused(tmp_path / f"model{end}", r"is pickled, and runs code .*; convert it .*save_file")


def test_a_folder_that_leads_out(folder, tmp_path):
    (folder / "vae").rename(tmp_path / "elsewhere")
    (folder / "vae").symlink_to(tmp_path / "elsewhere")
    refused(folder, r"vae: leads out of the checkpoint, to .*elsewhere; replace the link by the")


def test_a_file_of_a_part_that_leads_out(folder, tmp_path):
    shutil.move(folder / "unet/config.json", tmp_path / "config.json")
    (folder / "unet/config.json").symlink_to(tmp_path / "config.json")
    refused(folder, r"unet/config\.json: leads out of the checkpoint")


@pytest.mark.slow
def test_a_tokenizer_that_leads_out_is_not_copied(folder, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (folder / "tokenizer/merges.txt").unlink()
    (folder / "tokenizer/merges.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(CheckpointError, match=r"merges\.txt: leads out of the checkpoint"):
        export(load_parts(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../other", "a/b", ".."])
def test_a_component_elsewhere(name, folder):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, name: ["a", "B"]}))
    refused(folder, "is no name of a folder")


def test_a_pipeline_of_another_kind(folder):
    index = json.loads((folder / "model_index.json").read_text())
    changed = {name: entry for name, entry in index.items() if name != "unet"}
    changed |= {
        "_class_name": "FluxPipeline",
        "transformer": ["diffusers", "FluxTransformer2DModel"],
    }
    (folder / "model_index.json").write_text(json.dumps(changed))
    refused(folder, "is a pipeline of several models; give the folder of one of them: text_encoder")


def test_a_file_of_another_architecture(tmp_path):
    tensors = {"double_blocks.0.img_attn.norm.key_norm.scale": np.zeros(3, np.float32)}
    save_file(tensors, tmp_path / "flux.safetensors")
    refused(tmp_path / "flux.safetensors", r"holds no UNet of Stable Diffusion in the original lay")
    save_file({"lora_unet_x.lora_up.weight": np.zeros(3, np.float32)}, tmp_path / "l.safetensors")
    refused(tmp_path / "l.safetensors", r"is a LoRA file, no model; list it in model\.sources")
    unet = folder_file(tmp_path)
    refused(unet, r"is one part of a pipeline, .*; give the folder that holds it")


def folder_file(tmp_path):
    own = {n.removeprefix("unet/"): t for n, t in TENSORS.items() if n.startswith("unet/")}
    save_file(own, tmp_path / "unet.safetensors")
    return tmp_path / "unet.safetensors"


def test_an_architecture_that_no_shape_tells(tmp_path):
    file = write_single(tmp_path / "x.safetensors", CONFIGS, TENSORS, described=False)
    refused(file, r"is of no architecture that is known by shapes \(SDXL, SD 1\.x, SD 2\.x\)")


def test_the_refiner(tmp_path):
    extra = {"conditioner.embedders.0.model.text_projection": np.zeros((2, 2), np.float32)}
    file = write_single(tmp_path / "x.safetensors", CONFIGS, TENSORS, extra, described=False)
    refused(file, "is SDXL's refiner")


def test_a_file_that_lacks_tensors_and_one_whose_shapes_differ(tmp_path):
    file = write_single(tmp_path / "x.safetensors", CONFIGS, TENSORS)
    held = load_file(file)
    del held["first_stage_model.quant_conv.bias"]
    held["model.diffusion_model.out.2.bias"] = np.zeros(5, np.float32)
    metadata = {METADATA: json.dumps(CONFIGS)}
    save_file(held, file, metadata=metadata)
    with pytest.raises(CheckpointError) as caught:
        load_config(file)
    assert "missing: vae/quant_conv.bias [8]" in str(caught.value)
    assert "wrong shape: unet/conv_out.bias is [5], config.json makes it [4]" in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"unet": 3}), json.dumps({"vae": {}})])
def test_metadata_that_says_nonsense(text, tmp_path):
    file = write_single(tmp_path / "x.safetensors", CONFIGS, TENSORS)
    save_file(load_file(file), file, metadata={METADATA: text})
    with pytest.raises(CheckpointError, match=r"x\.safetensors: "):
        load_config(file)


def test_encoders_that_the_unet_does_not_fit(tmp_path):
    configs = {**CONFIGS, "unet": {**CONFIGS["unet"], "cross_attention_dim": 32}}
    folder = write_folder(tmp_path / "odd", configs, TENSORS)
    refused(folder, r"the text encoders are 8 \+ 16 wide, and the UNet attends to 32")


@pytest.mark.slow
def test_what_is_there_is_not_replaced(folder, tmp_path):
    model = load_parts(folder)
    (tmp_path / "x.safetensors").write_text("mine")
    with pytest.raises(CheckpointError, match=r"x\.safetensors: exists; choose another"):
        export(model, tmp_path / "x.safetensors")
    export(model, tmp_path / "x.safetensors", overwrite=True)
    export(model, tmp_path / "out")
    export(model, tmp_path / "out", overwrite=True)
    (tmp_path / "out/mine").mkdir()
    with pytest.raises(CheckpointError, match="holds the folder mine, which no export has"):
        export(model, tmp_path / "out", overwrite=True)


def test_nothing_is_left_of_an_export_with_nan(folder, tmp_path):
    name = "diffusion_pytorch_model.safetensors"
    held = load_file(folder / "unet" / name)
    held["conv_in.bias"] = np.full_like(held["conv_in.bias"], np.nan)
    save_file(held, folder / "unet" / name)
    for target in ("out", "out.safetensors"):
        with pytest.raises(CheckpointError, match=r"unet/conv_in\.bias: holds NaN"):
            export(load_parts(folder), tmp_path / target)
    assert [path.name for path in tmp_path.iterdir()] == ["sdxl"]


def test_a_snapshot_of_the_hub_whose_files_are_links(tmp_path):
    snapshot = write_folder(tmp_path / "repo/snapshots/1", CONFIGS, TENSORS)
    blobs = tmp_path / "repo/blobs"
    blobs.mkdir()
    for number, path in enumerate(sorted(p for p in snapshot.rglob("*") if p.is_file())):
        path.rename(blobs / str(number))
        path.symlink_to(blobs / str(number))
    assert load_config(snapshot).tensors.keys() == TENSORS.keys()
    assert len(load_config(snapshot / "unet").tensors) > 0
