"""The tables of names and shapes, in every spelling of a file, also of the published sizes."""

import json
import math

import pytest

from evojax_merge.models import family_of
from evojax_merge.models.family import DECODER, LLAVA
from evojax_merge.models.llava.config import LlavaConfig
from evojax_merge.models.llava.names import Names
from evojax_merge.models.llava.params import layout
from tests.llava_factory import SIGLIP, VOCAB, llava_config, read_llava, write_llava

# What the hub's config.json of these say, of which the sizes of the text are the type's own.
LARGE = {
    "model_type": "clip_vision_model",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
    "projection_dim": 768,
    "vocab_size": 32000,
}
LLAVA_15 = {
    "model_type": "llava",
    "architectures": ["LlavaForConditionalGeneration"],
    "text_config": {"model_type": "llama", "vocab_size": 32064, "max_position_embeddings": 4096},
    "vision_config": LARGE,
}
LLAVA_16 = {
    "model_type": "llava_next",
    "architectures": ["LlavaNextForConditionalGeneration"],
    "text_config": {"model_type": "mistral", "vocab_size": 32064, "sliding_window": None},
    "vision_config": LARGE,
    "image_grid_pinpoints": [[336, 672], [672, 336]],
}


@pytest.mark.parametrize(
    ("hf_config", "parameters", "tensors"),
    [
        ({"model_type": "llava"}, 7_062_902_784, 686),
        (LLAVA_15, 7_062_902_784 + 2 * 64 * 4096, 686),
        (LLAVA_16, 7_566_747_648, 687),
    ],
)
def test_published_models_have_as_many_parameters(hf_config, parameters, tensors):
    found = layout(LlavaConfig.from_hf(hf_config))
    assert sum(math.prod(shape) for shape in found.shapes.values()) == parameters
    assert len(found.slots) == tensors


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("spelling", "kind"),
    [("hub", "llava_next"), ("file", "llava"), ("memory", "llava_next"), ("memory", "llava")],
)
def test_every_tensor_of_every_spelling_has_its_place(spelling, kind, tmp_path):
    write_llava(tmp_path, llava_config(kind), spelling=spelling)
    hf_config = json.loads((tmp_path / "config.json").read_text())
    config, params = read_llava(tmp_path, hf_config)
    assert family_of(hf_config) is LLAVA
    assert config.text.vocab_size == VOCAB
    assert params["projector"].keys() == {"linear_1", "linear_2"} | (
        {"image_newline"} if kind == "llava_next" else set()
    )
    assert {"embeddings", "layers", "post_layernorm", "pre_layrnorm"} == params[
        "vision_tower"
    ].keys()


def test_the_pooling_head_of_a_siglip_survives(tmp_path):
    write_llava(tmp_path, llava_config(vision=SIGLIP))
    hf_config = json.loads((tmp_path / "config.json").read_text())
    config, params = read_llava(tmp_path, hf_config)
    assert params["vision_tower"]["head"]["attention"].keys() >= {"in_proj_weight", "out_proj"}
    leaf = layout(config).leaves["vision_tower.head.mlp.fc1.weight"]
    assert (leaf.group, leaf.place) == ("vision_head", "last")
    assert leaf.tensor == "vision_tower.vision_model.head.mlp.fc1.weight"


def test_a_spelling_of_the_first_llava_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match="convert_llava_weights_to_hf"):
        Names.of(["model.mm_projector.0.weight"])


def test_a_part_is_a_model_of_its_own_family():
    config = LlavaConfig.from_hf(LLAVA_15)
    parts = LLAVA.parts(config)
    assert list(parts) == ["vision_tower", "projector", "language_model"]
    language = parts["language_model"]
    assert language.family is DECODER
    own = language.own_hf_config(LLAVA_15)
    assert family_of(own) is DECODER
    assert DECODER.config_from_hf(own) == language.config
    whole, alone = layout(config), DECODER.layout(language.config)
    assert {f"language_model.{path}": leaf.shape for path, leaf in alone.leaves.items()} == {
        path: leaf.shape for path, leaf in whole.leaves.items() if path.startswith("language_model")
    }
    assert parts["projector"].family is None


@pytest.mark.parametrize(
    ("parts", "stacks", "projector"),
    [
        (["projector"], [], None),
        (["projector", "language_model"], ["language_model.layers"], "first"),
        (["vision_tower", "projector"], ["vision_tower.layers"], "last"),
        (["vision_tower"], ["vision_tower.layers"], None),
    ],
)
def test_a_model_with_some_parts_alone(parts, stacks, projector):
    config = LLAVA.only(LlavaConfig.from_hf(LLAVA_16), parts)
    found = layout(config)
    assert list(found.stacks) == stacks
    assert {path.partition(".")[0] for path in found.leaves} == set(parts)
    assert set(LLAVA.parts(config)) == set(parts)
    if projector is not None:
        leaf = found.leaves["projector.image_newline"]
        assert (leaf.stack, leaf.place) == (stacks[0], projector)


def test_groups_and_places():
    leaves = layout(LlavaConfig.from_hf(LLAVA_16)).leaves
    groups = {
        "vision_tower.layers.self_attn.q_proj.weight": "vision_attention",
        "vision_tower.layers.mlp.fc1.bias": "vision_mlp",
        "vision_tower.post_layernorm.weight": "vision_norm",
        "vision_tower.embeddings.class_embedding": "vision_embedding",
        "projector.linear_1.bias": "projector",
        "projector.image_newline": "projector",
        "language_model.layers.mlp.up_proj.weight": "mlp",
        "language_model.lm_head.weight": "head",
    }
    assert {path: leaves[path].group for path in groups} == groups
    assert leaves["language_model.embed_tokens.weight"].token_table
    assert leaves["projector.linear_2.weight"].reads == "projector.linear_2"


@pytest.mark.parametrize("kind", ["llava", "llava_next"])
@pytest.mark.parametrize(("outer", "inner"), [(False, True), (True, False), (False, False)])
def test_a_head_is_tied_where_transformers_ties_it(kind, outer, inner):
    changes = {"tie_word_embeddings": inner}
    hf_config = llava_config(kind, "qwen2", changes, tie_word_embeddings=outer)
    tied = outer or (inner and kind == "llava")
    found = layout(LlavaConfig.from_hf(hf_config))
    assert ("language_model.lm_head.weight" not in found.leaves) == tied
    assert ("language_model.lm_head.weight" in found.aliases) == tied


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision_feature_layer": 9}, "vision_feature_layer 9 does not exist"),
        ({"vision_feature_layer": []}, "vision_feature_layer"),
        ({"projector_hidden_act": "step"}, "projector_hidden_act 'step' is not supported"),
        ({"vision_feature_select_strategy": "some"}, "vision_feature_select_strategy"),
        ({"vision_config": {"model_type": "pixtral"}}, "'pixtral' of vision_config"),
        ({"vision_config": {"model_type": ["a"]}}, "of vision_config is not supported"),
        ({"vision_config": {**SIGLIP, "num_attention_heads": 5}}, "no multiple of its num_att"),
        ({"vision_config": {**SIGLIP, "patch_size": 17}}, "larger than its image_size 16"),
        ({"vision_config": {**SIGLIP, "hidden_act": "step"}}, "hidden_act 'step' is not"),
        ({"vision_config": {**SIGLIP, "image_size": [16, 16]}}, "image_size"),
        ({"text_config": {"model_type": "gemma2"}}, "'gemma2' of text_config"),
        ({"text_config": "large"}, "text_config must hold the fields"),
        ({"text_config": {"hidden_act": "step"}}, "text_config of config.json: hidden_act"),
        ({"image_grid_pinpoints": [[3]]}, r"sizes \[height, width\]"),
        ({"image_grid_pinpoints": [[16, 20]]}, "multiples of the tower's image_size 16"),
        ({"vision_feature_select_strategy": "full"}, "'full' leaves 17 of the tower's 17"),
        ({"image_token_index": -1}, "image_token_index"),
        ({"model_type": "vipllava"}, "'vipllava' is not a supported LLaVA"),
    ],
)
def test_what_it_cannot_compute_is_refused_in_words(changes, message):
    with pytest.raises(ValueError, match=message):
        LlavaConfig.from_hf({**llava_config("llava_next"), **changes})


def test_a_llava_of_other_parts_is_merged_by_its_names():
    for changes in (
        {"vision_config": {"model_type": "pixtral"}},
        {"text_config": {"model_type": "gemma2"}},
    ):
        assert family_of({**llava_config(), **changes}).name == "named"
