"""The tables of names and shapes, in every spelling of a file, also of the published sizes."""

import math

import pytest

from evojax_merge.models import family_of
from evojax_merge.models.family import DECODER, QWEN_VL
from evojax_merge.models.qwen_vl.config import QwenVLConfig
from evojax_merge.models.qwen_vl.names import HUB
from evojax_merge.models.qwen_vl.params import layout
from tests.qwen_vl_factory import TEXT, qwen_vl_config, read_qwen_vl, write_qwen_vl

# What the hub's config.json of Qwen2.5-VL-7B and of Qwen2.5-VL-3B say.
LARGE = {
    "model_type": "qwen2_5_vl",
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "vocab_size": 152_064,
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-6,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "vision_config": {"hidden_size": 1280, "in_chans": 3, "out_hidden_size": 3584},
    "tie_word_embeddings": False,
}
SMALL = {
    **LARGE,
    "vocab_size": 151_936,
    "hidden_size": 2048,
    "intermediate_size": 11_008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "vision_config": {"hidden_size": 1280, "out_hidden_size": 2048},
    "tie_word_embeddings": True,
}


@pytest.mark.parametrize(
    ("hf_config", "parameters", "tensors"),
    [(LARGE, 8_292_166_656, 729), (SMALL, 3_754_622_976, 824)],
)
def test_published_models_have_as_many_parameters(hf_config, parameters, tensors):
    found = layout(QwenVLConfig.from_hf(hf_config))
    assert sum(math.prod(shape) for shape in found.shapes.values()) == parameters
    assert len(found.slots) == tensors


@pytest.mark.parametrize("spelling", ["hub", "memory"])
def test_every_tensor_of_every_spelling_has_its_place(spelling, tmp_path):
    write_qwen_vl(tmp_path, qwen_vl_config(), spelling=spelling)
    config, params = read_qwen_vl(tmp_path)
    assert config.nests == (spelling == "memory")
    assert config.text == QwenVLConfig.from_hf(qwen_vl_config()).text
    assert params["projector"].keys() == {"norm", "linear_1", "linear_2"}
    assert params["vision_tower"].keys() == {"patch_embed", "layers"}


def test_a_language_model_is_a_qwen_2_whose_positions_have_axes():
    language = QWEN_VL.parts(QwenVLConfig.from_hf(LARGE))["language_model"]
    own = language.own_hf_config(LARGE)
    assert family_of(own) is DECODER
    assert "vision_config" not in own
    alone = DECODER.config_from_hf(own)
    assert (alone.rope.sections, alone.rope.theta) == ((), 1_000_000.0)
    assert language.inside(alone) == language.config
    assert language.hf_config == ""


def test_groups_and_places():
    found = layout(QwenVLConfig.from_hf(LARGE))
    leaves = found.leaves
    groups = {
        "vision_tower.layers.attn.qkv.weight": "vision_attention",
        "vision_tower.layers.mlp.up_proj.bias": "vision_mlp",
        "vision_tower.layers.norm2.weight": "vision_norm",
        "vision_tower.patch_embed.weight": "vision_embedding",
        "projector.norm.weight": "projector",
        "language_model.layers.mlp.up_proj.weight": "mlp",
    }
    assert {path: leaves[path].group for path in groups} == groups
    assert leaves["vision_tower.patch_embed.weight"].place == "first"
    assert leaves["vision_tower.layers.mlp.up_proj.weight"].reads.endswith("mlp.gate_proj")
    assert leaves["projector.linear_1.weight"].tensor == "visual.merger.mlp.0.weight"


HEADS = {"hidden_size": 30, "num_heads": 5}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision_config": HEADS}, "makes no 5 heads of a multiple of 4 channels"),
        ({"vision_config": {"hidden_act": "step"}}, "hidden_act 'step' of vision_config"),
        ({"vision_config": {"window_size": 20}}, "window_size 20 of vision_config is smaller"),
        ({"vision_config": {"out_hidden_size": 9}}, "out_hidden_size of vision_config is 9, and"),
        ({"vision_config": {"patch_size": [2, 2]}}, "patch_size"),
        ({"vision_config": {"rope_parameters": {"rope_type": "yarn"}}}, "supported is axial"),
        ({"vision_config": "large"}, "vision_config must hold the fields"),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 1]}}, "3 numbers of the sum 4"),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [1, 3]}}, "3 numbers of the sum 4"),
        ({"vision_config": {"window_size": 2**16}}, "window_size is 65536"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "RoPE of type 'dynamic' is not"),
        ({"image_token_id": -1}, "image_token_id"),
        ({"hidden_act": "step"}, "hidden_act 'step' is not supported"),
        ({"model_type": "qwen2_vl"}, "'qwen2_vl' is not a supported Qwen-VL"),
        ({"text_config": {**TEXT, "model_type": "llama"}}, "must be those of a Qwen2.5-VL"),
    ],
)
def test_what_it_cannot_compute_is_refused_in_words(changes, message):
    with pytest.raises(ValueError, match=message):
        QwenVLConfig.from_hf({**qwen_vl_config(), **changes})


def test_other_models_of_the_kind_are_merged_by_their_names():
    for changes in (
        {"model_type": "qwen2_vl", "architectures": ["Qwen2VLForConditionalGeneration"]},
        {"model_type": "qwen3_vl", "architectures": ["Qwen3VLForConditionalGeneration"]},
        {"text_config": {**TEXT, "model_type": "llama"}},
    ):
        assert family_of({**qwen_vl_config(), **changes}).name == "named"


@pytest.mark.parametrize(
    "name",
    [
        "model.language_model.layers.0.self_attn.q_proj.weight",
        "language_model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.self_attn.q_proj.weight",
    ],
)
def test_a_name_is_spelled_as_in_the_files(name):
    assert HUB.spelled(name) == "model.layers.0.self_attn.q_proj.weight"
    assert HUB.spelled("model.visual.blocks.0.norm1.weight") == "visual.blocks.0.norm1.weight"
