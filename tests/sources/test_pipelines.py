"""Diffusion models as the base and the sources of a merge: parts, carriers and LoRA files."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from evojax_merge.checkpoints import CheckpointError, export
from evojax_merge.models.family import UNET
from evojax_merge.params.low_rank import LowRank, Unchanged, materialise
from evojax_merge.params.tree import flatten
from evojax_merge.sources.baked import Baked, split_baked
from evojax_merge.sources.ingredients import load_ingredients
from evojax_merge.sources.plan import plan
from tests.pipelines_factory import (
    folder_tensors,
    original_tensors,
    pipeline_configs,
    pipeline_tensors,
    write_folder,
    write_single,
)

CONFIGS = pipeline_configs()
BASE, OTHER, THIRD = (pipeline_tensors(CONFIGS, seed) for seed in range(3))


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    write_folder(directory / "base", CONFIGS, BASE)
    write_folder(directory / "other", CONFIGS, OTHER)
    write_single(directory / "third.safetensors", CONFIGS, THIRD)
    return directory


def assert_unet(params, tensors, layout):
    leaves = flatten(params)
    for name, slot in layout.slots.items():
        leaf = leaves[slot.path] if slot.layer is None else leaves[slot.path][slot.layer]
        np.testing.assert_allclose(
            leaf, tensors[f"unet/{name}"], rtol=1e-5, atol=1e-6, err_msg=name
        )


@pytest.mark.slow
def test_folders_single_files_and_unets_stand_beside_each_other(places):
    names = ["base", "other", "other/unet", "third.safetensors"]
    prepared = plan(None, [str(places / name) for name in names])
    assert prepared.reference.carrier.directory == places / "base"
    found = load_ingredients(prepared)
    wanted = (BASE, OTHER, OTHER, THIRD)
    for model, tensors in zip(found.sources, wanted, strict=True):
        assert model.family is UNET
        assert_unet(model.params, tensors, found.layout)
        assert model.carrier is not None


def test_a_single_file_borrows_tokenizers(places, tmp_path):
    sources = [str(places / "third.safetensors"), str(places / "base")]
    model = load_ingredients(plan(None, sources)).reference
    export(model, tmp_path / "out")
    found = folder_tensors(tmp_path / "out")
    assert found.keys() == THIRD.keys()
    for name, tensor in THIRD.items():
        np.testing.assert_array_equal(found[name], tensor)
    index = json.loads((tmp_path / "out/model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionXLPipeline"
    assert index["tokenizer_2"] == ["transformers", "CLIPTokenizer"]
    merges = (tmp_path / "out/tokenizer/merges.txt").read_text()
    assert merges == (places / "base/tokenizer/merges.txt").read_text()


@pytest.mark.slow
def test_a_part_comes_from_another_checkpoint(places, tmp_path):
    changed = {**CONFIGS["text_encoder"], "architectures": ["CLIPTextModelWithProjection"]}
    configs = {**CONFIGS, "text_encoder": changed}
    tensors = pipeline_tensors(configs, 5)
    japanese = write_folder(tmp_path / "japanese", configs, tensors)
    sources = [str(places / "base"), str(places / "other")]
    carriers = {"text_encoder": str(japanese), "vae": str(places / "other/vae")}
    prepared = plan(None, sources, carriers=carriers)
    ingredient = prepared.carrier_ingredients["text_encoder"]
    assert ingredient.path == str(japanese)
    assert len(ingredient.sha256) == 64
    model = load_ingredients(prepared).reference
    origins = {"unet": BASE, "text_encoder": tensors, "text_encoder_2": BASE, "vae": OTHER}
    export(model, tmp_path / "out")
    found = folder_tensors(tmp_path / "out")
    for name, tensor in found.items():
        np.testing.assert_array_equal(tensor, origins[name.split("/")[0]][name], err_msg=name)
    assert "text_encoder/text_projection.weight" in found
    index = json.loads((tmp_path / "out/model_index.json").read_text())
    assert index["text_encoder"] == ["transformers", "CLIPTextModelWithProjection"]
    again = plan(None, [str(tmp_path / "out")])
    assert again.reference.carrier.config == prepared.reference.carrier.config
    file = export(model, tmp_path / "out.safetensors")
    held = original_tensors(configs, {n: origins[n.split("/")[0]][n] for n in found})
    np.testing.assert_equal(load_file(file), held)


@pytest.mark.parametrize(
    ("carriers", "message"),
    [
        ({"text": "base"}, "has no part 'text'; it has unet"),
        ({"unet": "other"}, "unet is merged; leave it out"),
        ({"vae": "other/unet"}, "is a unet, and no vae"),
        ({"text_encoder": "other/text_encoder_2"}, r"the text encoders are 16 \+ 16 wide"),
    ],
)
def test_carriers_that_do_not_fit(carriers, message, places):
    given = {part: str(places / name) for part, name in carriers.items()}
    with pytest.raises(CheckpointError, match=message):
        plan(None, [str(places / "base"), str(places / "other")], carriers=given)


def _with(configs, part, **changes):
    return {**configs, part: {**configs[part], **changes}}


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        (pipeline_configs("SD 1.x"), r"attends to texts 8 wide, and not 24"),
        (_with(CONFIGS, "unet", in_channels=9), r"reads 9 channels, and not 4; its is one for inp"),
        (
            _with(CONFIGS, "scheduler", prediction_type="v_prediction"),
            r"predicts v_prediction, and",
        ),
    ],
)
def test_models_of_another_kind_are_refused_together(configs, message, places, tmp_path):
    write_single(tmp_path / "odd.safetensors", configs, pipeline_tensors(configs, 3))
    with pytest.raises(CheckpointError, match=message):
        plan(None, [str(places / "base"), str(tmp_path / "odd.safetensors")])


QUERY, FEED = "transformer_blocks.1.attn1.to_q", "transformer_blocks.2.ff.net.0.proj"
ADAPTED = {
    f"down_blocks.1.attentions.0.{QUERY}": f"input_blocks.4.1.{QUERY}",
    f"up_blocks.0.attentions.2.{FEED}": f"output_blocks.2.1.{FEED}",
    "mid_block.attentions.0.proj_in": "middle_block.1.proj_in",
    "down_blocks.0.resnets.1.conv1": "input_blocks.2.0.in_layers.2",
    "up_blocks.2.resnets.0.conv_shortcut": "output_blocks.6.0.skip_connection",
}


def factors(rank=2, seed=9):
    rng = np.random.default_rng(seed)
    found = {}
    for module in ADAPTED:
        out, inputs, *kernel = BASE[f"unet/{module}.weight"].shape
        down = rng.standard_normal((rank, inputs, *kernel), np.float32)
        found[module] = down, rng.standard_normal((out, rank, *[1] * len(kernel)), np.float32)
    return found


def added(scale):
    return {
        module: scale
        * (up.reshape(len(up), -1) @ down.reshape(len(down), -1)).reshape(
            BASE[f"unet/{module}.weight"].shape
        )
        for module, (down, up) in factors().items()
    }


def write_lora(file, spelling, alpha=None, extra=None):
    tensors = {}
    for module, (down, up) in factors().items():
        match spelling:
            case "kohya":
                name, ends = f"lora_unet_{module.replace('.', '_')}", ("lora_down", "lora_up")
            case "kohya, original":
                name = f"lora_unet_{ADAPTED[module].replace('.', '_')}"
                ends = "lora_down", "lora_up"
            case "comfy":
                name, ends = f"diffusion_model.{ADAPTED[module]}", ("lora_A", "lora_B")
            case "peft":
                name, ends = f"unet.{module}", ("lora_A", "lora_B")
            case "diffusers":
                name, ends = f"unet.{module}", ("lora.down", "lora.up")
        tensors |= {f"{name}.{ends[0]}.weight": down, f"{name}.{ends[1]}.weight": up}
        if alpha is not None:
            tensors[f"{name}.alpha"] = np.array(alpha, np.float32)
    save_file(tensors | (extra or {}), file)
    return file


@pytest.mark.few(1)
@pytest.mark.parametrize("spelling", ["kohya, original", "kohya", "comfy", "peft", "diffusers"])
def test_a_lora_file_is_a_source(spelling, places, tmp_path):
    alpha = 1.0 if spelling.startswith("kohya") else None
    file = write_lora(tmp_path / "l.safetensors", spelling, alpha)
    prepared = plan(str(places / "base"), [str(file), str(places / "other")])
    found = load_ingredients(prepared)
    leaves = flatten(found.sources[0].params)
    kinds = [type(leaf) for leaf in leaves.values()]
    assert kinds.count(LowRank) == len(ADAPTED)
    assert kinds.count(Unchanged) == len(kinds) - len(ADAPTED)
    whole = materialise(found.base.params, found.sources[0].params)
    wanted = dict(BASE)
    for module, delta in added(0.5 if alpha else 1.0).items():
        wanted[f"unet/{module}.weight"] = wanted[f"unet/{module}.weight"] + delta
    assert_unet(whole, wanted, found.layout)
    assert prepared.source_ingredients[0].path == str(file)


@pytest.mark.slow
@pytest.mark.parametrize("spelling", ["kohya", "peft"])
def test_a_lora_is_what_diffusers_fuses(spelling, places, tmp_path):
    import torch
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_lora_to_diffusers

    file = write_lora(tmp_path / "l.safetensors", spelling, 3.0 if spelling == "kohya" else None)
    theirs = UNet2DConditionModel.from_config(CONFIGS["unet"])
    own = {n.removeprefix("unet/"): torch.from_numpy(t) for n, t in BASE.items() if "unet/" in n}
    theirs.load_state_dict(own)
    held = {name: torch.from_numpy(tensor) for name, tensor in load_file(file).items()}
    alphas = None
    if spelling == "kohya":
        held, alphas = _convert_non_diffusers_lora_to_diffusers(held)
    theirs.load_lora_adapter(held, network_alphas=alphas, prefix="unet")
    theirs.fuse_lora()
    theirs.unload_lora()
    found = load_ingredients(plan(str(places / "base"), [str(file)]))
    wanted = {f"unet/{name}": tensor.numpy() for name, tensor in theirs.state_dict().items()}
    whole = materialise(found.base.params, found.sources[0].params)
    assert_unet(whole, wanted, found.layout)


def test_alphas_in_the_metadata_of_diffusers(places, tmp_path):
    file = write_lora(tmp_path / "l.safetensors", "peft")
    scales = {"unet.r": 2, "unet.lora_alpha": 1, "unet.alpha_pattern": {"proj_in": 6}}
    save_file(load_file(file), file, metadata={"lora_adapter_metadata": json.dumps(scales)})
    adapter = plan(str(places / "base"), [str(file)]).sources[0]
    found = {pair.slot.path: pair.scale for pair in adapter.pairs}
    assert found.pop("mid_block.attentions.0.proj_in.weight") == 3.0
    assert set(found.values()) == {0.5}


def test_a_lora_is_baked_into_a_source_with_a_strength(places, tmp_path):
    file = write_lora(tmp_path / "l.safetensors", "kohya", 1.0)
    sources = [f"{places / 'other'}+{file}:0.5", str(places / "other")]
    prepared = plan(None, sources)
    found = load_ingredients(prepared)
    wanted = dict(OTHER)
    for module, delta in added(0.25).items():
        wanted[f"unet/{module}.weight"] = wanted[f"unet/{module}.weight"] + delta
    assert_unet(found.sources[0].params, wanted, found.layout)
    assert_unet(found.sources[1].params, OTHER, found.layout)
    baked, plain = prepared.source_ingredients
    assert baked.path == sources[0]
    assert baked.sha256 != plain.sha256


@pytest.mark.parametrize(
    ("source", "strength"),
    [("m+l.safetensors", 1.0), ("m+l.safetensors:0", 0.0), ("m+l.safetensors:-.5", -0.5)],
)
def test_the_strength_of_a_lora(source, strength):
    assert split_baked(source) == Baked("m", "l.safetensors", strength)


@pytest.mark.parametrize("strength", ["", "much", "0,8", "nan"])
def test_a_strength_that_is_no_number(strength):
    with pytest.raises(CheckpointError, match=rf"strength of the LoRA is '{strength}'; give a num"):
        split_baked(f"m+l.safetensors:{strength}")


def test_factors_of_text_encoders_are_left_out_with_a_warning(places, tmp_path):
    extra = {
        "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": np.zeros(
            (2, 8), np.float32
        ),
        "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": np.zeros(
            (24, 2), np.float32
        ),
    }
    file = write_lora(tmp_path / "l.safetensors", "kohya", 1.0, extra)
    with pytest.warns(UserWarning, match="of 1 modules of text encoders are not merged"):
        plan(str(places / "base"), [str(file)])


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"lora_unet_x.lora_down.weight": (2, 8)}, "adapts x, and the UNet has no such module"),
        ({"lora_unet_conv_in.lora_down.weight": (2, 4, 3, 3)}, "missing: up of conv_in"),
        ({"something": (3,)}, "unexpected: something"),
        ({"lora_unet_conv_in.hada_w1_a": (3, 3)}, "more than plain LoRA"),
        (
            {
                "lora_unet_conv_in.lora_down.weight": (2, 9, 3, 3),
                "lora_unet_conv_in.lora_up.weight": (8, 2, 1, 1),
            },
            r"wrong shape: conv_in is down \[2, 9, 3, 3\]",
        ),
    ],
)
def test_lora_files_that_do_not_fit(extra, message, places, tmp_path):
    tensors = {name: np.zeros(shape, np.float32) for name, shape in extra.items()}
    file = write_lora(tmp_path / "l.safetensors", "kohya", 1.0, tensors)
    with pytest.raises(CheckpointError, match=message):
        plan(str(places / "base"), [str(file)])


def test_a_lora_that_fits_nothing(tmp_path, places):
    names = ("lora_unet_blocks_0_q.lora_down.weight", "lora_unet_blocks_0_q.lora_up.weight")
    save_file({name: np.zeros((2, 2), np.float32) for name in names}, tmp_path / "l.safetensors")
    with pytest.raises(
        CheckpointError, match=r"fits nothing in .*: the UNet has no module blocks_0_q"
    ):
        plan(str(places / "base"), [str(tmp_path / "l.safetensors")])
    with pytest.raises(CheckpointError, match=r"give that as model\.base"):
        plan(None, [str(tmp_path / "l.safetensors")])
    with pytest.raises(CheckpointError, match="holds no LoRA"):
        plan(None, [f"{places / 'base'}+{places / 'third.safetensors'}"])
