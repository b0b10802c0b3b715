import pytest
from transformers import AutoConfig
from transformers import CLIPConfig as TheirConfig

from evojax_merge.models.clip.config import CLIPConfig, VisionConfig
from tests.clip_factory import clip_config, tower_config

_SHARED = {
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_act": "hidden_act",
    "layer_norm_eps": "layer_norm_eps",
}
TEXT = {
    **_SHARED,
    "vocab_size": "vocab_size",
    "max_position_embeddings": "max_position_embeddings",
    "eos_token_id": "eos_token_id",
}
VISION = {
    **_SHARED,
    "num_channels": "num_channels",
    "image_size": "image_size",
    "patch_size": "patch_size",
}


def assert_same(ours, theirs, fields):
    for name, their_name in fields.items():
        assert getattr(ours, name) == getattr(theirs, their_name), name


@pytest.mark.parametrize(
    "hub",
    [
        {},
        {"text_config": None, "vision_config": None, "projection_dim": 768},
        {"text_config": {"hidden_size": 1024, "eos_token_id": 2, "projection_dim": 3}},
        {
            "text_config": {"hidden_size": 64, "eos_token_id": 2},
            "text_config_dict": {"hidden_act": "gelu", "num_hidden_layers": 23},
            "vision_config": {"patch_size": 14},
            "vision_config_dict": {"hidden_size": 1664, "num_attention_heads": 16},
        },
        {"text_config": {"hidden_size": 64}, "text_config_dict": {}, "vision_config_dict": None},
    ],
)
def test_silence_and_older_spellings_mean_what_transformers_assumes(hub):
    ours = CLIPConfig.from_hf({"model_type": "clip", **hub})
    theirs = TheirConfig(**hub)
    assert_same(ours.text, theirs.text_config, TEXT)
    assert_same(ours.vision, theirs.vision_config, VISION)
    assert ours.text.projection_dim == ours.vision.projection_dim == theirs.projection_dim


@pytest.mark.parametrize("tower", ["text", "vision"])
def test_a_tower_alone_is_read_like_a_nested_one(tower):
    kind = f"clip_{tower}_model"
    ours = CLIPConfig.from_hf({"model_type": kind})
    other = {"text": ours.vision, "vision": ours.text}[tower]
    assert other is None
    own = getattr(ours, tower)
    assert_same(own, AutoConfig.for_model(kind), TEXT if tower == "text" else VISION)
    assert own.projection_dim is None
    projected = CLIPConfig.from_hf(tower_config(tower, projected=True))
    assert getattr(projected, tower).projection_dim == 20


def test_the_tower_of_a_llava_is_read_from_its_vision_config():
    llava = {
        "model_type": "clip_vision_model",
        "hidden_size": 1024,
        "image_size": 336,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 14,
        "projection_dim": 768,
        "vocab_size": 32000,
    }
    tower = VisionConfig.from_hf(llava)
    assert (tower.grid, tower.num_positions, tower.projection_dim) == (24, 577, None)
    assert tower.hidden_act == "quick_gelu"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "siglip"}, "model_type 'siglip' is not a supported CLIP"),
        ({}, "model_type None is not a supported CLIP"),
        (clip_config(architectures=["CLIPForImageClassification"]), "CLIPForImageClassification"),
        (clip_config(architectures=["CLIPVisionModel"]), "supported is CLIPModel"),
        (tower_config("text", architectures=["CLIPVisionModel"]), "CLIPTextModel or"),
        (clip_config({"hidden_act": "gelu_new"}), "hidden_act 'gelu_new' of CLIP's text tower"),
        (clip_config(vision={"hidden_act": None}), "hidden_act None of CLIP's vision tower"),
        (clip_config({"hidden_size": None}), "hidden_size of CLIP's text tower"),
        (clip_config({"num_hidden_layers": True}), "num_hidden_layers of CLIP's text tower"),
        (clip_config({"num_attention_heads": 5}), "no multiple of its num_attention_heads 5"),
        (clip_config({"eos_token_id": [38, 39]}), "eos_token_id of CLIP's text tower"),
        (clip_config({"eos_token_id": None}), "eos_token_id of CLIP's text tower"),
        (clip_config({"layer_norm_eps": None}), "layer_norm_eps of CLIP's text tower"),
        (clip_config({"layer_norm_eps": float("nan")}), "layer_norm_eps of CLIP's text tower"),
        (clip_config(vision={"image_size": [16, 16]}), "image_size of CLIP's vision tower"),
        (clip_config(vision={"patch_size": 32}), "patch_size 32 .* larger than its image_size 16"),
        (clip_config(projection_dim=None), "projection_dim of CLIP must be"),
        (tower_config("vision", projected=True, projection_dim=0), "projection_dim of CLIP must"),
        (clip_config(text_config="large"), "text_config must hold the fields of a tower"),
        (clip_config(vision_config_dict=[]), "vision_config must hold the fields of a tower"),
    ],
)
def test_what_it_cannot_compute_is_refused_in_words(config, message):
    with pytest.raises(ValueError, match=message):
        CLIPConfig.from_hf(config)
