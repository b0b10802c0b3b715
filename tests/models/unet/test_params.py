"""The layout of a UNet against the tensors of diffusers' own model."""

import math

import diffusers
import jax
import pytest
import torch

from evojax_merge.models import family_of
from evojax_merge.models.segments import assign
from evojax_merge.models.unet.params import layout
from evojax_merge.operators import linear
from evojax_merge.params.tree import flatten
from evojax_merge.spaces import ParameterSpace
from tests.unet_factory import SDXL, UNETS


def layout_of(hf_config):
    family = family_of(hf_config)
    return family.layout(family.config_from_hf(hf_config))


def count(found, wanted=lambda path: True):
    shapes = [slot.shape for slot in found.slots.values() if wanted(slot.path)]
    return len(shapes), sum(map(math.prod, shapes))


def test_sdxl_has_its_parameters_in_eleven_stacks():
    found = layout_of(SDXL)
    assert count(found) == (1680, 2_567_463_684)
    depths = [stack.depth for stack in found.stacks.values()]
    assert depths == [2, 2, 10, 10, 10, *[10] * 3, *[2] * 3]


@pytest.mark.slow
def test_sdxl_has_the_tensors_of_diffusers():
    with torch.device("meta"):
        model = diffusers.UNet2DConditionModel.from_config(SDXL)
    theirs = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert {name: slot.shape for name, slot in layout_of(SDXL).slots.items()} == theirs


def test_attention_is_what_sakana_merges_by_itself():
    found = layout_of(SDXL)
    assert count(found, lambda path: found.groups[path] == "attention") == (700, 955_353_600)
    sakana = ("to_k", "to_q", "to_v", "to_out.0")
    for name, slot in found.slots.items():
        assert (found.groups[slot.path] == "attention") == any(part in name for part in sakana)


@pytest.mark.parametrize(
    ("path", "group", "stack", "reads"),
    [
        ("conv_in.weight", "conv", None, None),
        ("conv_norm_out.bias", "norm", None, None),
        ("time_embedding.linear_1.weight", "embedding", None, None),
        ("add_embedding.linear_2.bias", "embedding", None, None),
        ("down_blocks.0.resnets.0.time_emb_proj.weight", "embedding", None, None),
        ("down_blocks.1.resnets.0.conv_shortcut.weight", "conv", None, None),
        ("down_blocks.0.resnets.0.norm2.weight", "norm", None, None),
        ("down_blocks.1.attentions.0.norm.weight", "norm", None, None),
        ("down_blocks.1.attentions.0.proj_in.weight", "projection", None, None),
        ("up_blocks.0.upsamplers.0.conv.weight", "conv", None, None),
        ("mid_block.attentions.0.*.norm3.bias", "norm", "mid_block.attentions.0.*", None),
        (
            "mid_block.attentions.0.*.attn1.to_v.weight",
            "attention",
            "mid_block.attentions.0.*",
            "mid_block.attentions.0.*.attn1.to_q",
        ),
        (
            "up_blocks.0.attentions.1.*.attn2.to_v.weight",
            "attention",
            "up_blocks.0.attentions.1.*",
            "up_blocks.0.attentions.1.*.attn2.to_k",
        ),
        (
            "up_blocks.0.attentions.1.*.ff.net.0.proj.weight",
            "feed_forward",
            "up_blocks.0.attentions.1.*",
            "up_blocks.0.attentions.1.*.ff.net.0.proj",
        ),
    ],
)
def test_the_use_of_a_leaf(path, group, stack, reads):
    spelled = [text and text.replace("*", "transformer_blocks") for text in (path, stack, reads)]
    leaf = layout_of(UNETS["sdxl"]).leaves[spelled[0]]
    assert [leaf.group, leaf.stack, leaf.reads] == [group, *spelled[1:]]


def test_convolutions_of_one_pixel_enter_the_transformers_of_sd15():
    found = layout_of(UNETS["sd15"])
    assert found.shapes["down_blocks.0.attentions.0.proj_in.weight"] == (16, 16, 1, 1)
    assert layout_of(UNETS["sd2"]).shapes["down_blocks.0.attentions.0.proj_in.weight"] == (16, 16)


def test_the_axis_of_the_population_stands_behind_the_blocks():
    found = layout_of(UNETS["small"])
    for path, axis in flatten(found.population_axes()).items():
        assert axis == int(".transformer_blocks." in path)
    assert {path for path in found.shapes if ".transformer_blocks." in path} == found.stacked


@pytest.mark.parametrize("name", UNETS)
def test_parameters_are_those_of_the_layout(name):
    family = family_of(UNETS[name])
    config = family.config_from_hf(UNETS[name])
    made = flatten(jax.eval_shape(lambda: family.init_params(config, jax.random.key(0))))
    assert {path: leaf.shape for path, leaf in made.items()} == layout(config).shapes


def space(groups, layers_per_block=None):
    return ParameterSpace(
        layout=layout_of(UNETS["sdxl"]),
        operator=linear(),
        sources=("a", "b"),
        groups=groups,
        layers_per_block=layers_per_block,
    )


def test_two_groups_are_two_segments():
    found = space({"attention": ["attention"], "rest": ["*"]})
    assert [segment.label for segment in found.segments] == ["attention 0–2", "rest 0–2"]
    owners = assign(found.segments, layout_of(UNETS["sdxl"]))
    groups = layout_of(UNETS["sdxl"]).groups
    assert all((owner == (groups[path] != "attention")).all() for path, owner in owners.items())


def test_blocks_of_layers_leave_a_segment_for_what_is_in_no_stack():
    found = space({"all": ["*"]}, layers_per_block=2)
    own = layout_of(UNETS["sdxl"])
    names = [segment.label for segment in found.segments]
    assert names[0] == "all"
    assert "all 2–2 of mid_block.attentions.0.transformer_blocks" in names
    owners = assign(found.segments, own)
    for path, owner in owners.items():
        if own.leaves[path].stack is None:
            assert owner == 0
            continue
        for layer, index in enumerate(owner):
            segment = found.segments[index]
            assert segment.stack == own.leaves[path].stack
            assert segment.first <= layer < segment.stop


def test_groups_of_stacks_alone_and_of_none_are_divided_as_they_are():
    found = space({"attention": ["attention"], "conv": ["conv"], "rest": ["*"]}, layers_per_block=3)
    names = [segment.label for segment in found.segments]
    assert "attention" not in names  # every leaf of it is in a stack
    assert names.count("conv 0–2") == 1  # none of it is
    assert "rest" in names


def test_parts_of_paths_are_blocks_of_the_unet():
    found = space({"middle": ["mid_block"], "down": ["down_blocks"], "rest": ["*"]})
    owners = assign(found.segments, layout_of(UNETS["sdxl"]))
    assert all(
        (owner == (0 if "mid_block" in path else 1 if "down_blocks" in path else 2)).all()
        for path, owner in owners.items()
    )
