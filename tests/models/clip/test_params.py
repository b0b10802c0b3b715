"""The tables of names and shapes, also of the sizes that are published."""

import math

import jax
import pytest

from evojax_merge.models.clip.config import CLIPConfig
from evojax_merge.models.clip.modeling import init_params
from evojax_merge.models.clip.params import BUFFERS, layout
from evojax_merge.params.tree import flatten
from tests.clip_factory import clip_config, tower_config

CONFIGS = {
    "both": clip_config(),
    "text": tower_config("text"),
    "text-projected": tower_config("text", projected=True),
    "vision": tower_config("vision"),
    "vision-projected": tower_config("vision", projected=True),
}

BASE = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
LARGE = {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096}
BIG = {"hidden_size": 1280, "num_attention_heads": 20, "intermediate_size": 5120}


@pytest.mark.parametrize(
    ("hf_config", "parameters", "tensors"),
    [
        # SDXL's text_encoder and text_encoder_2, the tower of LLaVA-1.5, and ViT-B/32.
        ({"model_type": "clip_text_model", **BASE}, 123_060_480, 196),
        (
            tower_config(
                "text",
                projected=True,
                **BIG,
                vocab_size=49408,
                max_position_embeddings=77,
                num_hidden_layers=32,
                projection_dim=1280,
            ),
            694_659_840,
            517,
        ),
        (
            {
                "model_type": "clip_vision_model",
                **LARGE,
                "num_hidden_layers": 24,
                "image_size": 336,
                "patch_size": 14,
            },
            303_507_456,
            391,
        ),
        ({"model_type": "clip"}, 151_277_313, 398),
    ],
)
def test_published_models_have_as_many_parameters(hf_config, parameters, tensors):
    found = layout(CLIPConfig.from_hf(hf_config))
    assert sum(math.prod(shape) for shape in found.shapes.values()) == parameters
    assert len(found.slots) == tensors


@pytest.mark.parametrize("name", CONFIGS)
def test_the_layout_is_that_of_the_tree(name):
    config = CLIPConfig.from_hf(CONFIGS[name])
    params = jax.eval_shape(lambda: init_params(config, jax.random.key(0)))
    found = layout(config)
    assert {path: leaf.shape for path, leaf in flatten(params).items()} == found.shapes
    assert [leaf.shape for leaf in jax.tree.leaves(params)] == list(found.shapes.values())
    assert len(found.token_tables) == ("vision" not in name)
    assert set(found.linear_inputs.values()) <= {path.rpartition(".")[0] for path in found.leaves}


def test_each_tower_has_a_stack_of_its_own():
    found = layout(CLIPConfig.from_hf(clip_config()))
    assert {stack.name: stack.depth for stack in found.stacks.values()} == {
        "text.layers": 3,
        "vision.layers": 4,
    }
    places = {path: (leaf.stack, leaf.place) for path, leaf in found.leaves.items()}
    assert places["vision.layers.mlp.fc1.bias"] == ("vision.layers", "each")
    assert places["text.embeddings.position_embedding.weight"] == ("text.layers", "first")
    assert places["vision.pre_layrnorm.bias"] == ("vision.layers", "first")
    assert places["text.projection.weight"] == ("text.layers", "last")
    assert places["vision.post_layernorm.bias"] == ("vision.layers", "last")
    assert places["logit_scale"] == ("vision.layers", "last")


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("text.layers.self_attn.out_proj.weight", "attention"),
        ("vision.layers.mlp.fc2.bias", "mlp"),
        ("vision.pre_layrnorm.weight", "norm"),
        ("text.layers.layer_norm1.bias", "norm"),
        ("text.embeddings.token_embedding.weight", "embedding"),
        ("vision.embeddings.class_embedding", "embedding"),
        ("vision.projection.weight", "projection"),
        ("logit_scale", "projection"),
    ],
)
def test_groups(path, group):
    assert layout(CLIPConfig.from_hf(clip_config())).groups[path] == group


def test_a_tower_alone_is_spelled_as_its_file_is():
    hf_config, path = tower_config("text"), "text.layers.mlp.fc1.weight"
    older = ["text_model.final_layer_norm.bias"]
    for stored, prefix in ((["final_layer_norm.bias"], ""), (older, "text_model.")):
        config = CLIPConfig.from_files(hf_config, stored)
        assert layout(config).names[path] == f"{prefix}encoder.layers.{{layer}}.mlp.fc1.weight"
    projected = layout(CLIPConfig.from_hf(tower_config("text", projected=True)))
    assert projected.names[path] == "text_model.encoder.layers.{layer}.mlp.fc1.weight"
    assert projected.names["text.projection.weight"] == "text_projection.weight"


@pytest.mark.parametrize(
    ("name", "is_buffer"),
    [
        ("text_model.embeddings.position_ids", True),
        ("embeddings.position_ids", True),
        ("vision_tower.vision_model.embeddings.position_ids", True),
        ("text_model.embeddings.position_embedding.weight", False),
    ],
)
def test_positions_counted_from_0_are_no_parameters(name, is_buffer):
    assert bool(BUFFERS.fullmatch(name)) == is_buffer
