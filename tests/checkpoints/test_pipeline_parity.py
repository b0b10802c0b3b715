"""Single files hold what diffusers' own converters read out of them."""

import numpy as np
import pytest

from tests.pipelines_factory import original_tensors, pipeline_configs, pipeline_tensors

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["SDXL", "SD 1.x", "SD 2.x"])
def test_diffusers_reads_the_same_tensors(kind):
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders import single_file_utils as theirs
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    configs = pipeline_configs(kind)
    tensors = pipeline_tensors(configs)
    held = {n: torch.from_numpy(t) for n, t in original_tensors(configs, tensors).items()}

    def encoder(part):
        projected = configs[part]["architectures"] == ["CLIPTextModelWithProjection"]
        cls = CLIPTextModelWithProjection if projected else CLIPTextModel
        return cls(CLIPTextConfig(**configs[part]))

    found = {
        "unet": theirs.convert_ldm_unet_checkpoint(held, configs["unet"]),
        "vae": theirs.convert_ldm_vae_checkpoint(dict(held), configs["vae"]),
    }
    if kind == "SD 2.x":
        found["text_encoder"] = theirs.convert_open_clip_checkpoint(encoder("text_encoder"), held)
    else:
        found["text_encoder"] = theirs.convert_ldm_clip_checkpoint(held)
    if kind == "SDXL":
        found["text_encoder_2"] = theirs.convert_open_clip_checkpoint(
            encoder("text_encoder_2"), held, prefix="conditioner.embedders.1.model."
        )
    flat = {f"{part}/{n}": tensor for part, own in found.items() for n, tensor in own.items()}
    assert flat.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(flat[name].numpy(), tensor, err_msg=name)
    UNet2DConditionModel.from_config(configs["unet"]).load_state_dict(found["unet"])
    AutoencoderKL.from_config(configs["vae"]).load_state_dict(found["vae"])


@pytest.mark.parametrize("kind", ["SDXL", "SD 1.x", "SD 2.x"])
def test_diffusers_reads_a_written_file(kind, tmp_path):
    """Its loader for single files, given the configurations of a folder, loads what was written."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    from evojax_merge import export
    from evojax_merge.checkpoints import load_parts
    from tests.pipelines_factory import write_folder

    configs = pipeline_configs(kind)
    tensors = pipeline_tensors(configs)
    folder = write_folder(tmp_path / "folder", configs, tensors)
    file = str(export(load_parts(folder), tmp_path / "one.safetensors"))
    for part, cls in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
        model = cls.from_single_file(file, config=str(folder), subfolder=part)
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, torch.from_numpy(tensors[f"{part}/{name}"])), name
