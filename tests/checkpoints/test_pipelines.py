"""Pipelines of Stable Diffusion as checkpoints: folders of diffusers, and single files."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from evojax_merge.checkpoints import (
    CheckpointError,
    default_parts,
    export,
    load,
    load_config,
    load_parts,
    weights_hash,
)
from evojax_merge.models.family import DIFFUSION, UNET
from evojax_merge.params.tree import flatten
from tests.pipelines_factory import (
    folder_tensors,
    original_tensors,
    pipeline_configs,
    pipeline_tensors,
    write_folder,
    write_single,
)

POSITIONS = "conditioner.embedders.0.transformer.text_model.embeddings.position_ids"
EXTRA = {
    POSITIONS: np.arange(7)[None],
    "alphas_cumprod": np.linspace(0, 1, 5, dtype=np.float64),
    "conditioner.embedders.1.model.logit_scale": np.array(4.6, np.float32),
}


@pytest.fixture(scope="module")
def configs():
    return pipeline_configs()


@pytest.fixture(scope="module")
def tensors(configs):
    return pipeline_tensors(configs)


@pytest.fixture(scope="module")
def folder(configs, tensors, tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("folder") / "sdxl", configs, tensors)


@pytest.fixture(scope="module")
def single(configs, tensors, tmp_path_factory):
    return write_single(
        tmp_path_factory.mktemp("single") / "s.safetensors", configs, tensors, EXTRA
    )


def assert_holds(model, tensors):
    layout = model.family.layout(model.config)
    leaves = flatten(model.params)
    assert layout.slots.keys() == tensors.keys()
    for name, slot in layout.slots.items():
        leaf = leaves[slot.path] if slot.layer is None else leaves[slot.path][slot.layer]
        np.testing.assert_array_equal(leaf, tensors[name], err_msg=name)


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype, name
        np.testing.assert_array_equal(found[name], tensor, err_msg=name)


def test_a_folder_is_one_checkpoint(folder, tensors):
    checkpoint = load_config(folder)
    assert checkpoint.family is DIFFUSION
    assert default_parts(checkpoint) == ("unet",)
    assert checkpoint.components["tokenizer_2"] == folder / "tokenizer_2"
    assert_holds(load(checkpoint), tensors)


def test_the_unet_is_a_model_by_itself(folder, tensors):
    model = load_parts(folder)
    assert model.family is UNET
    assert model.carrier.directory == folder
    own = {n.removeprefix("unet/"): t for n, t in tensors.items() if n.startswith("unet/")}
    assert_holds(model, own)


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", ["SDXL", "SD 1.x", "SD 2.x"])
def test_a_single_file_is_the_same_checkpoint(kind, tmp_path):
    configs = pipeline_configs(kind)
    tensors = pipeline_tensors(configs)
    file = write_single(tmp_path / "one.safetensors", configs, tensors)
    assert_holds(load(file), tensors)


def test_folder_to_folder(folder, tensors, tmp_path):
    export(load_parts(folder), tmp_path / "out")
    assert_same(folder_tensors(tmp_path / "out"), tensors)
    for path in sorted(folder.rglob("*.*")):
        if path.suffix != ".safetensors":
            written = (tmp_path / "out" / path.relative_to(folder)).read_text()
            if path.suffix == ".json":
                assert json.loads(written) == json.loads(path.read_text()), path
            else:
                assert written == path.read_text()


def test_folder_to_file_and_back(folder, configs, tensors, tmp_path):
    file = export(load_parts(folder), tmp_path / "out.safetensors")
    assert_same(load_file(file), original_tensors(configs, tensors))
    with pytest.raises(CheckpointError, match="has no tokenizer and no tokenizer_2"):
        export(load_parts(file), tmp_path / "back")


def test_file_to_file_keeps_what_is_unknown(single, tmp_path):
    export(load_parts(single), tmp_path / "out.safetensors")
    assert_same(load_file(tmp_path / "out.safetensors"), load_file(single))
    assert [p.name for p in tmp_path.iterdir()] == ["out.safetensors"]


@pytest.mark.few(1)
@pytest.mark.parametrize("variant", [".fp16", ".bf16"])
def test_variants_are_read_where_nothing_plain_is(variant, configs, tensors, tmp_path):
    write_folder(tmp_path / "own", configs, tensors, variant)
    export(load_parts(tmp_path / "own"), tmp_path / "out")
    assert_same(folder_tensors(tmp_path / "out"), tensors)
    assert (tmp_path / "out/unet/diffusion_pytorch_model.safetensors").exists()


@pytest.mark.slow
def test_shards(folder, tensors, tmp_path):
    export(load_parts(folder), tmp_path / "out", max_shard_size=200_000)
    assert (tmp_path / "out/unet/diffusion_pytorch_model.safetensors.index.json").exists()
    assert_same(folder_tensors(tmp_path / "out"), tensors)
    assert_holds(load(tmp_path / "out"), tensors)


def test_hashes_are_of_all_parts(folder, single, configs, tensors, tmp_path):
    other = {**tensors, "vae/quant_conv.bias": tensors["vae/quant_conv.bias"] + 1}
    write_folder(tmp_path / "other", configs, other)
    assert len({weights_hash(path) for path in (folder, tmp_path / "other", single)}) == 3
