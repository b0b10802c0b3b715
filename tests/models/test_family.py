import jax
import numpy as np
import pytest

from evojax_merge.models import FAMILIES, family_of
from evojax_merge.params.tree import flatten, unflatten
from tests.checkpoints_factory import mlp_config, tiny_config
from tests.clip_factory import clip_config, tower_config
from tests.llava_factory import SIGLIP, llava_config
from tests.qwen_vl_factory import qwen_vl_config

CONFIGS = [
    tiny_config(attention_bias=True, mlp_bias=True),
    tiny_config("mistral"),
    tiny_config("qwen2", tie_word_embeddings=True),
    tiny_config("qwen3"),
    tiny_config("gemma2"),
    tiny_config("phi3"),
    tiny_config("olmo2", attention_bias=True),
    mlp_config(8, 4, 3),
    clip_config(),
    tower_config("vision"),
    llava_config("llava_next"),
    llava_config(vision=SIGLIP),
    qwen_vl_config(),
]


@pytest.mark.parametrize("hf_config", CONFIGS, ids=lambda config: config["model_type"])
def test_slots_fill_every_leaf_exactly_once(hf_config):
    family = family_of(hf_config)
    config = family.config_from_hf(hf_config)
    filled = {
        path: np.zeros(leaf.shape, int)
        for path, leaf in flatten(family.abstract_params(config)).items()
    }
    for slot in family.layout(config).slots.values():
        part = filled[slot.path]
        part[... if slot.layer is None else slot.layer] += np.ones(slot.shape, int)
    assert all((leaf == 1).all() for leaf in filled.values())


@pytest.mark.parametrize("hf_config", CONFIGS, ids=lambda config: config["model_type"])
def test_parameters_are_made_as_promised(hf_config):
    family = family_of(hf_config)
    config = family.config_from_hf(hf_config)
    made = flatten(jax.eval_shape(lambda: family.init_params(config, jax.random.key(0))))
    promised = flatten(family.abstract_params(config))
    assert list(made.items()) == list(promised.items())


@pytest.mark.few(3)
@pytest.mark.parametrize("hf_config", CONFIGS, ids=lambda config: config["model_type"])
def test_the_layout_is_that_of_the_parameters(hf_config):
    family = family_of(hf_config)
    config = family.config_from_hf(hf_config)
    leaves = flatten(family.init_params(config, jax.random.key(0)))
    layout = family.layout(config)
    assert {path: leaf.shape for path, leaf in leaves.items()} == layout.shapes
    axes = flatten(layout.population_axes())
    assert axes == {path: int("layers." in path) for path in leaves}


def test_groups_of_a_decoder():
    family = family_of(tiny_config("qwen3"))
    groups = family.layout(family.config_from_hf(tiny_config("qwen3"))).groups
    assert groups["embed_tokens.weight"] == "embedding"
    assert groups["lm_head.weight"] == "head"
    assert groups["norm.weight"] == "norm"
    assert groups["layers.self_attn.q_norm.weight"] == "norm"
    assert groups["layers.post_attention_layernorm.weight"] == "norm"
    assert groups["layers.self_attn.o_proj.weight"] == "attention"
    assert groups["layers.mlp.down_proj.weight"] == "mlp"


def test_families_share_no_model_type_and_what_names_none_is_refused():
    known = [name for family in FAMILIES for name in family.model_types]
    assert len(known) == len(set(known))
    for hf_config in ({}, {"model_type": 3}, {"model_type": None}):
        with pytest.raises(ValueError, match="it must name the type of the model"):
            family_of(hf_config)


def test_flatten_and_unflatten_are_inverse():
    tree = {"a": {"b": {"weight": 1}}, "c": 2}
    assert flatten(tree) == {"a.b.weight": 1, "c": 2}
    assert unflatten(flatten(tree)) == tree
